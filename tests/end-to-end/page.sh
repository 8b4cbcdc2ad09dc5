# Reports, plots and watching, of real runs, from the command line: one file that needs nothing else, whatever names and reasons say; with
# gnuplot, without it, with a bad one; terminals are given back. What a browser makes of the page: tests/chromium/check.sh.
. "${0%/*}/lib.sh"
cd "$work"
cat >small.yaml <<'END'
name: small
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 3 }
train: { tokens: 2000, batch: 128, log_every: 1 }
eval: { tokens: 500 }
grid:
  - { activation.k: [2, 4] }
  - { activation.plugin: topafa, losses.afa.coeff: [1/32, 1/8] }
seeds: [1, 2]
END
expect 0 run small.yaml --out runs --quiet
# What others wrote: a failure with markup in its reason, an evaluation, contexts with control characters.
failed=$(cd runs && echo small/topafa-* | cut -d' ' -f1)
printf '{"status":"failed","reason":"<script>alert(1)</script> \\u001b[31m","metrics":{}}' >"runs/$failed/result.json"
first=$(cd runs && echo small/topk-k2-* | cut -d' ' -f1)
mkdir -p "runs/$first/eval/<b>other"
printf '{"metrics":{"l0":2,"nmse":0.125}}' >"runs/$first/eval/<b>other/result.json"
cp "runs/$first/tokens.csv" "runs/$first/eval/<b>other"
printf '%s\n' '{"latent":7,"contexts":[{"unit":0,"row":1,"activation":2.5,"token":3,"before":"a <i>","text":"\u0007","after":"\n& b"}]}' \
    'torn {' >"runs/$first/top_contexts.jsonl"
printf 'latent,frequency,mean_activation,max_activation\n7,0.125,1.5,2.5\n' >"runs/$first/latents.csv"

# complete PAGE: one document without references to anything outside of it, and without what names wanted to be.
complete() {
    [ "$(head -c 15 "$1")" = "<!DOCTYPE html>" ] && [ "$(tail -n 1 "$1")" = "</html>" ] || fail "$1 is not whole"
    if grep -nE '(src|href|action|data|poster)="?'"'"'?[^"#]|url\([^#]|@import|https?:|<(link|iframe|object|embed|img|base)' "$1" | grep -vE '<pre>|data-v=' | head -3 | grep .; then
        fail "$1 refers to something else"
    fi
    if LC_ALL=C grep -n "$(printf '[\001-\010\013-\037]')" "$1" | head -1 | grep .; then fail "$1 has control characters"; fi
    [ "$(grep -c '<script>' "$1")" -eq 1 ] || fail "$1 has scripts that are not its own"
    if command -v tidy >/dev/null 2>&1; then
        tidy -q -e "$1" >complaints 2>&1 || fail "$1 is no valid HTML: $(head -3 complaints)"
    fi
}
# has PAGE TEXT...
has() {
    page=$1
    shift
    for text; do grep -qF -e "$text" "$page" || fail "$page does not say: $text"; done
}

# ---- without gnuplot: a report of tables, and a warning
code=0
PATH=/nowhere "$quasar" report runs -o bare.html >out 2>err || code=$?
[ $code -eq 0 ] || fail "without gnuplot: exit code $code"
said err "gnuplot is not installed (Debian: gnuplot-nox): bare.html has its tables, but no figures"
complete bare.html
has bare.html "Figures are missing" '&lt;script&gt;alert(1)&lt;/script&gt; ␛[31m' '<table class="sortable" id="results">' \
    'a &lt;i&gt;<mark>␇</mark>␊&amp; b' 'latent 7, fires on a share of 0.125, mean activation 1.5, max 2.5' "&lt;b&gt;other" 'data-v="0.125"'
PATH=/nowhere "$quasar" plot pareto runs >out 2>err && fail "a plot without gnuplot"
said err "gnuplot is not installed"
for run in runs/small/*; do has bare.html "<code>${run#runs/}</code>" "quasar run $run/spec.yaml --out again"; done
[ "$(sed -n '/id="results"/,/<\/table>/p' bare.html | grep -c '<tr><td')" -eq 4 ] || fail "there should be four settings"
expect 0 table runs --cols nmse --format csv
mean=$(awk -F, 'END { print $0 }' out | cut -d, -f5) # of the last row; every digit is in the page
has bare.html "data-v=\"$mean\""

# ---- the command that the page gives for a run makes the same bytes
expect 0 run "runs/$first/spec.yaml" --out again --quiet
for file in result.json metrics.jsonl tokens.csv sae/sae_weights.safetensors; do
    cmp "runs/$first/$file" "again/$first/$file" || fail "the page's command made another $file"
done

# ---- mistakes
mistake() {
    said_so=$1
    shift
    expect 2 "$@"
    said err "$said_so"
}
mistake "needs one folder of runs, got 0" report
mistake "there is no folder elsewhere" report elsewhere
mistake "no run is left with activation.k=3" report runs --where activation.k=3
mistake "there is no figure 'parreto'; did you mean 'pareto'?" plot parreto runs
mistake "needs the name of a figure" plot
mistake "pareto needs a folder of runs" plot pareto
mistake "zf needs a folder of runs, or --tokens FILE" plot zf
mistake "density is made from a folder of runs, not from --tokens" plot density --tokens x.csv
mistake "--out is 'x.gif', but must end in .svg, .pdf or .png" plot pareto runs -o x.gif
mistake "--d-sae is '1', but must be a whole number of 2 or more" plot zf --tokens x.csv --d-sae 1
mistake "--d-sae goes with --tokens" plot zf runs --d-sae 5
mistake "has several settings" plot zf runs
mistake "cannot read x.csv" plot zf --tokens x.csv
mistake "there is no folder elsewhere" watch elsewhere --once
mistake "--sparkline is for people" table runs --format csv --sparkline loss
[ ! -e report.html ] && [ ! -e pareto.svg ] || fail "a mistake wrote something"

# ---- in a terminal
expect 0 table runs --cols nmse --sparkline loss
grep -qE '[▁▂▃▄▅▆▇█]{10}' out || fail "no curve in the table: $(cat out)"
expect 1 watch runs --once
said out "1 failed, 7 done"
said out "15/15"
expect 1 watch runs --interval 1
said out "failed  $failed: <script>"
if command -v script >/dev/null 2>&1 && script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    # A terminal of 40 x 10, where q is pressed after a second; its settings before and after are the same.
    cat >session.sh <<END
stty rows 10 cols 40; stty -a >before; "$quasar" watch runs; echo code \$? >code; stty -a >after
END
    (sleep 1.5; printf q; sleep 0.5) | TERM=xterm timeout 20 script -qec "sh session.sh" /dev/null >screen 2>&1 || true
    [ "$(cat code)" = "code 0" ] || fail "watch on a terminal: $(cat code)"
    cmp before after || fail "watch left the terminal changed"
    esc=$(printf '\033')
    grep -qF "$esc[?1049h" screen && grep -qF "$esc[?1049l" screen && grep -qF "$esc[?25h" screen || fail "watch did not give the screen back"
    grep -qF "STATE" screen || fail "watch showed nothing"
fi

# ---- with gnuplot
command -v gnuplot >/dev/null 2>&1 || skip "the figures were not drawn: no gnuplot"
expect 0 report runs -o page.html --keep-plots plots --overlay "$source_folder/tests/golden/paper/gpt2_layer6_runs.csv"
[ ! -s err ] || grep -q 'top_contexts.jsonl: lines that cannot be understood are left out: 1' err || fail "$(cat err)"
complete page.html
figures=$(grep -c '<svg' page.html)
[ "$figures" -ge 14 ] && [ "$figures" -eq "$(ls plots/*.gp | wc -l)" ] && [ "$figures" -eq "$(ls plots/*.tsv | wc -l)" ] || fail "$figures figures"
if grep -q "fill=.black\|stroke=.black" page.html; then fail "black would not be seen in the dark"; fi
has page.html "(published)" "L0 above d_in/2 (8 for the own runs) is not sparse; it is not shaded" "max 2.5"
grep -o ' id="[^"]*"' page.html | sort | uniq -d >twice
[ ! -s twice ] || fail "ids are used twice: $(head -3 twice)"
expect 0 report runs -o second.html --keep-plots plots --overlay "$source_folder/tests/golden/paper/gpt2_layer6_runs.csv"
sed 's/page\.html/second.html/' page.html | cmp - second.html || fail "a second report differs"

# What is kept can be drawn again.
(cd plots && gnuplot pareto-nmse.gp 2>/dev/null && [ -s pareto-nmse.svg ]) || fail "the kept script draws nothing"
expect 0 plot zf "runs/$first" -o zf.pdf
[ "$(head -c 4 zf.pdf)" = %PDF ] || fail "no PDF"
expect 0 plot violin --tokens "runs/$first/tokens.csv" --d-sae 48 --png
[ "$(head -c 4 violin.png | tail -c 3)" = PNG ] || fail "no PNG"
for figure in pareto curves dead density l0 afa norms coherence violin; do
    expect 0 plot $figure runs -o $figure.svg --keep-plots kept
    grep -q '</svg>' $figure.svg && [ -s kept/$figure.tsv ] || fail "no $figure"
done
expect 0 plot curves runs --metric grad_norm --where activation.k=2

# A table that cannot be read costs its figures, a gnuplot that fails all of them; the report is still made.
printf 'ztz,ftf,l_recon\n1,2\n' >"runs/$first/tokens.csv"
expect 0 report runs -o broken.html
said err "tokens.csv:2: 2 fields, but the first line has 3"
complete broken.html
mkdir bin
printf '#!/bin/sh\necho "no such terminal" >&2\nexit 1\n' >bin/gnuplot
chmod +x bin/gnuplot
PATH=$work/bin:$PATH "$quasar" report runs -o failing.html >out 2>err || fail "a failing gnuplot fails the report"
said err "the figure 'pareto-nmse' could not be drawn: gnuplot failed with"
has failing.html "no such terminal"
complete failing.html
