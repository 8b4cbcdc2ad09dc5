# Tables, comparisons, index and export of real runs, from the command line: numbers computed here by awk, words on the right
# stream, broken folders, mistakes.
. "${0%/*}/lib.sh"
cd "$work"
cat >small.yaml <<'END'
name: small
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 3 }
train: { tokens: 2000, batch: 128 }
eval: { tokens: 500 }
END
for seed in 1 2 3; do
    for k in 2 4; do expect 0 run small.yaml activation.k=$k seed=$seed --out runs --quiet; done
done

# mean and t(0.975, 2) sd / sqrt 3 of a metric over the runs with this k, t in closed form.
by_awk() {
    for folder in runs/small/topk-k"$2"-*; do sed -n "s/^ *\"$1\": \([-0-9.e]*\),*\$/\1/p" "$folder/result.json" | head -1; done |
        awk '{ n++; s += $1; v[n] = $1 }
             END { m = s / n; for (i = 1; i <= n; i++) q += (v[i] - m) ^ 2
                   printf "%d %.9e %.9e\n", n, m, 0.95 / sqrt(0.04875) * sqrt(q / (n - 1) / n) }'
}
expect 0 table runs --rows activation.plugin,activation.k --cols nmse,fvu --format csv
[ ! -s err ] || fail "there is nothing to note"
header=activation.plugin,activation.k,runs,nmse_mean,nmse_ci95,nmse_n,fvu_mean,fvu_ci95,fvu_n,failed,unfinished
[ "$(head -1 out)" = "$header" ] || fail "the header is $(head -1 out)"
for k in 2 4; do
    got=$(awk -F, -v k=$k '$2 == k { printf "%d %.9e %.9e", $6, $4, $5 }' out)
    [ "$got" = "$(by_awk nmse $k)" ] || fail "nmse for k=$k: $got, and by awk $(by_awk nmse $k)"
    got=$(awk -F, -v k=$k '$2 == k { printf "%d %.9e %.9e", $9, $7, $8 }' out)
    [ "$got" = "$(by_awk fvu $k)" ] || fail "fvu for k=$k: $got, and by awk $(by_awk fvu $k)"
done

# The parameter that varies makes the rows.
expect 0 table runs --cols l0
exactly out <<'END'
activation.k  runs     l0
           2     3  2 ± 0
           4     3  4 ± 0
END
expect 0 table runs --cols l0 --format md --sort=-activation.k
exactly out <<'END'
| activation.k | runs | l0 |
|--:|--:|--:|
| 4 | 3 | 4 ± 0 |
| 2 | 3 | 2 ± 0 |
END
expect 0 table runs --cols l0 --rows activation.plugin
said err "note: runs of one row would differ in activation.k too: it became a column"
expect 0 table runs --cols l0,mse_norm --rows activation.plugin,activation.k \
    --overlay "$source_folder/tests/golden/paper/gpt2_layer6_runs.csv" --overlay "$source_folder/tests/golden/paper/gpt2_layer7_runs.csv"
[ "$(grep -c '^published ' out)" -eq 46 ] || fail "not all 46 published runs are in the table"

# Comparisons: pairs by seed; no p-value for one seed.
expect 0 compare runs --metric nmse --between activation.k
said out "2 - 4"
said out "3 pairs"
expect 0 compare runs --metric nmse --between activation.k --where seed=1
said out "no p-value: 2 has 1 seed, 4 has 1; a p-value needs 2 or more on each side"
expect 0 compare runs --metric nmse --between activation.k --format json
said out '"paired_p": '
expect 0 compare runs --metric nmse --between activation.k --at l0=3
said out "its l0 is 2 alone"

# The index is written whole, and again.
expect 0 index runs
exactly out <<'END'
runs/index.sqlite: 6 runs, 6 completed
END
expect 0 index runs
[ "$(ls runs)" = "index.sqlite
small" ] || fail "something was left in the folder: $(ls runs)"
if command -v sqlite3 >/dev/null 2>&1; then
    [ "$(sqlite3 runs/index.sqlite "SELECT group_concat(DISTINCT value) FROM parameters WHERE key = 'activation.k'")" = "2,4" ] ||
        fail "the index does not know k"
fi

# An export is the same every time.
expect 0 export runs --tensorboard board
cp -R board first
expect 2 export runs --tensorboard ./runs
said err "would put event files among the runs' own files"
expect 0 export runs --tensorboard board
diff -r first board || fail "a second export differs"
[ "$(find board -name 'events.out.tfevents.*' | wc -l)" -eq 6 ] || fail "there should be 6 event files"
grep -qF train/loss.mse "$(find board -type f | head -1)" || fail "no train/loss.mse in the event file"
run=$(cd runs && echo small/topk-k4-* | cut -d' ' -f1)
grep -q '^{"step":0,"wall_seconds":' "runs/$run/timing.jsonl" || fail "timing.jsonl has other keys than the export reads"
grep -qF time/tokens_per_second "board/$run/events.out.tfevents.0.quasar" || fail "no speed in the event file"

# A broken folder is warned about, and the others are still told.
for folder in runs/small/topk-k2-*; do
    printf '{"status": "comp' >"$folder/result.json"
    break
done
expect 0 table runs --cols l0
said err "warning: small/topk-k2-"
said err "is broken: "
said err "and left out"
exactly out <<'END'
activation.k  runs     l0
           2     2  2 ± 0
           4     3  4 ± 0
END
expect 0 index runs
said out "6 runs, 5 completed, 1 broken"

# Mistakes: exit code 2, a suggestion, nothing on standard output.
mistake() {
    said_so=$1
    shift
    expect 2 "$@"
    said err "$said_so"
    [ ! -s out ] || fail "quasar $* printed something"
}
mistake "no run has the metric 'nmes'; did you mean 'nmse'?" table runs --cols nmes
mistake "no run has the parameter 'k'; did you mean 'activation.k'?" table runs --rows k
mistake "no run is left with activation.k=3; activation.k has: 2, 4" table runs --where activation.k=3
mistake "--format is 'html', but must be text, csv, md, latex or json" table runs --format html
mistake "needs one folder of runs, got 0" table
mistake "there is no folder elsewhere" table elsewhere
mistake "small.yaml is a file; the folder of runs is needed" index small.yaml
mistake "needs --metric and --between" compare runs --metric nmse
mistake "only the value '16'" compare runs --metric nmse --between dataset.d_in
mistake "needs --tensorboard" export runs
mistake "cannot read missing.csv" table runs --overlay missing.csv
mkdir nothing
mistake "nothing holds no run folders" table nothing
