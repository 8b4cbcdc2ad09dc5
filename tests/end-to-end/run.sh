# A run from the command line: its folder, its words, equal bytes for any number of threads, skipping what is complete,
# overrides, several specs, and evaluating what it made.
. "${0%/*}/lib.sh"
cd "$work"
cat >small.yaml <<'END'
name: small
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 3 }
train: { tokens: 4000, batch: 128 }
eval: { tokens: 700 }
END

# The folder is named as `show --id` says, and holds everything; tokens are rounded down to whole batches.
expect 0 show small.yaml --id
id=$(cat out)
expect 0 run small.yaml --out runs --threads 1
[ "$(ls runs)" = small ] && [ "$(ls runs/small)" = "$id" ] || fail "runs/small/$id is not what was made"
for file in spec.yaml manifest.json metrics.jsonl timing.jsonl result.json tokens.csv latents.csv top_contexts.jsonl sae/cfg.json sae/sae_weights.safetensors; do
    [ -s "runs/small/$id/$file" ] || fail "no $file"
done
said out "small  $id  completed"
said out "31 steps, 3968 tokens in "
for word in l0 nmse fvu explained_variance silent_fraction epsilon_lbo_median mmcs "files in runs/small/$id"; do said out "$word"; done
said err "small: step 31/31"
[ "$(wc -l <"runs/small/$id/tokens.csv")" -eq 701 ] || fail "tokens.csv should have a header and 700 rows"

# Bytes do not depend on threads, nor on which lines are logged.
expect 0 run small.yaml --out two --threads 2 --quiet
[ ! -s err ] || fail "--quiet is not quiet"
expect 0 run small.yaml --out three --threads 3 --quiet train.log_every=1
for other in two three; do
    for file in result.json tokens.csv latents.csv top_contexts.jsonl sae/cfg.json sae/sae_weights.safetensors; do
        cmp "runs/small/$id/$file" "$other/small/$id/$file" || fail "$file depends on threads or logging"
    done
done
cmp "runs/small/$id/metrics.jsonl" "two/small/$id/metrics.jsonl" || fail "metrics.jsonl depends on threads"
while IFS= read -r line; do
    grep -qxF -e "$line" "three/small/$id/metrics.jsonl" || fail "logging every step changes: $line"
done <"runs/small/$id/metrics.jsonl"

# Complete is complete, until --rerun.
cp "runs/small/$id/manifest.json" before
expect 0 run small.yaml --out runs
said out "already complete"
cmp before "runs/small/$id/manifest.json" || fail "a skipped run wrote something"
expect 0 run small.yaml --out runs --rerun all --quiet
said out "completed"

# Several specs, overrides for all of them, a table at the end.
sed 's/^name: small/name: other/; s/k: 3/k: 4/' small.yaml >other.yaml
expect 0 run small.yaml other.yaml seed=7 --out runs
said out "NAME"
[ "$(grep -c '  completed  ' out)" -eq 2 ] || fail "the table lacks a run"
[ "$(ls runs/small | wc -l)" -eq 2 ] || fail "seed=7 should be another run"

# Judged again from disk, the numbers are the same; where the spec and cfg.json disagree nothing is judged.
expect 0 eval "runs/small/$id" --spec small.yaml --out judged --quiet
said out "on rows it was not trained on"
for file in tokens.csv latents.csv top_contexts.jsonl; do
    cmp "runs/small/$id/$file" "judged/$file" || fail "eval and run disagree about $file"
done
grep -q '"held_out": true' judged/result.json || fail "held_out should be true"
cp -R "runs/small/$id/sae" lone
expect 0 eval lone --spec small.yaml eval.tokens=100
said out "is not known"
expect 2 eval "runs/small/$id" --spec small.yaml activation.k=5 --out nothing
said err "cfg.json says k 3, but the spec has k 5"
expect 2 eval "runs/small/$id" --spec small.yaml sae.d_sae=64 --out nothing
said err "says d_sae 48, but the spec has sae.d_sae 64"
expect 2 eval small.yaml --spec small.yaml
said err "small.yaml is no SAE"
mkdir bare
expect 2 eval bare --spec small.yaml
said err "there is no cfg.json"
[ ! -e nothing ] || fail "a refused evaluation created its folder"

# Bad input that only shows when things are opened creates nothing either.
expect 2 run small.yaml sae.d_sae=2 --out nothing
said err "small.yaml:4:32: activation.k: k=3 exceeds d_sae=2"
expect 2 run small.yaml train.tokens=100 --out nothing
said err "less than one batch"
[ ! -e nothing ] || fail "a refused run created its folder"

# Ctrl-C ends a run in order.
"$quasar" run small.yaml train.tokens=2_000_000_000 --out long >out 2>err &
pid=$!
tries=0
until [ -n "$(find long -name metrics.jsonl -size +0c 2>/dev/null)" ] || [ $tries -eq 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -TERM $pid
code=0
wait $pid || code=$?
[ $code -eq 130 ] || fail "an interrupted run returned $code"
said out "interrupted"
[ -z "$(find long -name result.json)" ] || fail "an interrupted run has a result"
