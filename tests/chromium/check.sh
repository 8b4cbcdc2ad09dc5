#!/bin/sh
# `make check-report`: a report of a real small grid, rendered by a headless Chromium at 390 and 1280 pixels, light and dark: valid HTML,
# nothing from elsewhere, every picture there, no page that scrolls sideways, tables that a click sorts. The pictures stay in
# report-pictures/ of the build folder, to be looked at. Prints "not tested" and why where Chromium is not installed; run by
# `make check-report`, never by `make check`.
. "${0%/*}/../end-to-end/lib.sh"

not_tested() {
    echo "check-report: not tested: $*"
    exit 0
}
chromium=$(command -v chromium || command -v chromium-browser || true)
[ -n "$chromium" ] || not_tested "chromium is not installed (Debian: chromium)"
command -v gnuplot >/dev/null 2>&1 || not_tested "gnuplot is not installed (Debian: gnuplot-nox)"
pictures=$build_folder/report-pictures
cd "$work"

# Few tokens, but every kind of cell: three activations, two seeds, one that failed, a name that is long.
cat >grid.yaml <<END
name: a-small-grid-with-quite-a-long-name-as-people-like-to-give-to-their-experiments
dataset:
  plugin: gpt2
  model: $source_folder/experiments/data/tiny-gpt2
  tokens: $source_folder/experiments/data/tiny-gpt2/tokens.npy
  hook: { site: resid_pre, layer: 4 }
  skip_first: 1
sae: { d_sae: 256, b_dec_init: zero }
activation: { plugin: topk, k: 8 }
train: { tokens: 8192, batch: 256, lr: 1e-3, log_every: 2 }
eval: { tokens: 2048 }
grid:
  - { activation.plugin: [topk, batchtopk], activation.k: [4, 16] }
  - { activation.plugin: topafa, losses.afa.coeff: [1/32, 1/8] }
seeds: [1, 2]
END
expect 0 run grid.yaml --out runs --quiet
for run in runs/*/topk-k16-*; do
    printf '{"status":"failed","reason":"the loss is not finite at step 37 <b>& no end of it</b>","metrics":{}}' >"$run/result.json"
    break
done
expect 0 report runs -o page.html --overlay "$source_folder/tests/golden/paper/gpt2_layer6_runs.csv"
cp "$source_folder/tests/chromium/look.html" .

# Chromium keeps its files where we say, and is ended when it does not end.
render() { timeout -k 5 120 "$chromium" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --hide-scrollbars \
    --user-data-dir="$work/profile" --virtual-time-budget=20000 --allow-file-access-from-files "$@" 2>"$work/complaints"; }
scheme_flags() { [ "$1" = dark ] && echo --blink-settings=preferredColorScheme=0 || echo --blink-settings=preferredColorScheme=1; }

for scheme in light dark; do
    render "$(scheme_flags $scheme)" --dump-dom "file://$work/look.html" >dom || {
        tail -5 complaints >&2
        fail "chromium did not render the page"
    }
    sed -n '/<pre id="verdict">/,/<\/pre>/p' dom | sed 's/.*<pre id="verdict">//; s/<\/pre>.*//' >verdict-$scheme
    grep -q '^finished' verdict-$scheme || fail "the page was not looked at: $(cat verdict-$scheme)"
    if grep '^BAD' verdict-$scheme >&2; then fail "in the $scheme scheme"; fi
    [ "$(grep -c '^good' verdict-$scheme)" -eq 26 ] || fail "$(grep -c "^good" verdict-$scheme) checks, not 26"
done
background() { sed -n 's/^colours 390 //p' "verdict-$1"; }
[ "$(background light)" = "rgb(255, 255, 255)" ] && [ "$(background dark)" = "rgb(15, 19, 24)" ] ||
    fail "the schemes have the backgrounds $(background light) and $(background dark)"

if command -v tidy >/dev/null 2>&1; then
    tidy -q -e page.html >complaints 2>&1 || fail "no valid HTML: $(head -3 complaints)"
else
    echo "check-report: HTML not validated: tidy is not installed"
fi

# Pictures for people: a frame gives the width, since Chromium has no narrow windows.
mkdir -p "$pictures"
for width in 390 1280; do
    echo "<!DOCTYPE html><style>body{margin:0}iframe{border:0;width:${width}px;height:6000px}</style><iframe src=page.html></iframe>" >frame.html
    for scheme in light dark; do
        render "$(scheme_flags $scheme)" --window-size=$((width > 500 ? width : 500)),6000 --screenshot="$pictures/$width-$scheme.png" \
            "file://$work/frame.html" >out || fail "no picture of $width pixels"
        [ "$(wc -c <"$pictures/$width-$scheme.png")" -gt 20000 ] || fail "the picture of $width pixels, $scheme, is empty"
    done
done
echo "check-report: 26 checks in each scheme; pictures are in $pictures"
