# SAEs on disk as a user meets them: a grid is trained, inspected, exported, evaluated before and after, again, and all at once.
. "${0%/*}/lib.sh"
cd "$work"
mkdir spec && cat >spec/grid.yaml <<'END'
name: grid
dataset: { plugin: synthetic, d_in: 24, features: 64 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 4 }
train: { tokens: 4096, batch: 256, lr: 1e-3 }
eval: { tokens: 700 }
grid:
  - { activation.plugin: [topk, batchtopk], activation.k: 4 }
  - { activation.plugin: [relu, jumprelu, topafa] }
  - { sae.normalize: [none, dataset], activation.plugin: topk, activation.k: 5 }
END
expect 0 run spec/grid.yaml --quiet
set -- runs/grid/*
[ $# -eq 7 ] || fail "expected 7 runs"
# metric FOLDER: all metrics of a result, as text.
metrics() { sed -n '/"metrics": {/,/}/p' "$1/result.json"; }

# A spec that says nothing but data and evaluation, over everything in one go: as in training, to the last digit. A scale of the dataset
# is folded into what is stored, which rounds.
cat >data.yaml <<'END'
dataset: { plugin: synthetic, d_in: 24, features: 64 }
eval: { tokens: 700 }
END
expect 0 eval runs --spec data.yaml --quiet
said out "7 of 7 evaluated on data"
for run in "$@"; do
    [ -s "$run/eval/data/saebench-core.json" ] || fail "no file for SAEBench in $run"
    cmp -s "$run/tokens.csv" "$run/eval/data/tokens.csv" || grep -q 'normalize: dataset' "$run/spec.yaml" || fail "tokens.csv of $run differs"
    grep -q '"held_out": true' "$run/eval/data/result.json" || fail "held_out should be true"
done

# Again: nothing to do; other rows: stale; another name: both.
cp "$1/eval/data/result.json" before.json
expect 0 eval runs --spec data.yaml --quiet
said out "0 of 7 evaluated on data"
said out "7 had a result already"
expect 1 eval "$1" --spec data.yaml eval.tokens=300 --quiet
said out "is of other rows (dataset, eval.tokens or files); --rerun replaces it, --name NAME keeps both"
cmp before.json "$1/eval/data/result.json" || fail "a stale result was touched"
expect 0 eval "$1" --spec data.yaml eval.tokens=300 --name few --quiet
[ -s "$1/eval/few/result.json" ] || fail "--name names the folder"
expect 0 eval "$1" --spec data.yaml eval.tokens=300 --rerun --quiet
cmp -s before.json "$1/eval/data/result.json" && fail "--rerun should have replaced it"

# Interrupted between two: what is there stays, what is missing is made.
rm -r "$2/eval"
expect 0 eval runs/grid --spec data.yaml --quiet --rerun
cp "$2/eval/data/result.json" whole.json
rm -r "$2/eval"
expect 0 eval runs/grid --spec data.yaml --quiet
said out "1 of 7 evaluated on data"
cmp whole.json "$2/eval/data/result.json" || fail "company changed a result"

# A grid's own spec does as well; the base that the grid varies says nothing about a member.
expect 0 eval "$1" --spec spec/grid.yaml --quiet

# Exported and read back: the same tensors, the same numbers.
for run in "$@"; do
    case $run in *topafa*) continue ;; esac
    expect 0 export "$run" --to saelens "given/${run##*/}"
    cmp "$run/sae/sae_weights.safetensors" "given/${run##*/}/sae_weights.safetensors" || fail "$run: exported tensors differ"
    expect 0 inspect "given/${run##*/}" --json
done
expect 0 eval given --spec data.yaml --quiet
said out "6 of 6 evaluated on data"
for sae in given/*; do
    metrics "$sae/eval/data" >a && metrics "runs/grid/${sae##*/}/eval/data" >b
    cmp a b || fail "$sae: another result than before export"
    cmp "$sae/eval/data/tokens.csv" "runs/grid/${sae##*/}/eval/data/tokens.csv" || fail "$sae: other tokens than before export"
done

# As sparsify: with k, without normalisation; what it has no words for must be asked for.
for run in "$@"; do
    grep -q 'normalize: none' "$run/spec.yaml" && plain=$run
done
expect 0 export "$plain" --to sparsify sparse
expect 0 eval sparse --spec data.yaml --quiet
metrics sparse/eval/data >a && metrics "$plain/eval/data" >b
cmp a b || fail "sparsify: another result than before export"
for run in "$@"; do
    case $run in *topafa*) afa=$run ;; *jumprelu*) jump=$run ;; esac
done
expect 2 export "$afa" --to saelens other
said err "SAELens does not know the activation topafa; --as jumprelu or --as topk converts it and measures what that costs"
[ ! -e other ] || fail "a refused export left something"
for as in topk jumprelu; do
    expect 0 export "$afa" --to saelens "as-$as" --as $as --quiet
    said out "on 700 held-out rows"
    said out "nmse"
    grep -q '"conversion"' "as-$as/cfg.json" || fail "cfg.json should say what it cost"
    expect 0 eval "as-$as" --spec data.yaml --quiet
    # What was shown is what an evaluation says.
    shown=$(sed -n 's/.*"after": \(.*\)/\1/p' "as-$as/cfg.json" | head -n 1)
    grep -q "\"l0\": $shown" "as-$as/eval/data/result.json" || fail "the l0 of the conversion, $shown, is not what eval finds"
done

# Taken for something else, the probe in it speaks up.
sed -i 's/"architecture": "jumprelu"/"architecture": "standard"/' "given/${jump##*/}/cfg.json"
expect 2 eval "given/${jump##*/}" --spec data.yaml --name x --quiet
said err "is it jumprelu or batchtopk?"
sed -i 's/"apply_b_dec_to_input": true/"apply_b_dec_to_input": false/' "sparse/../given/${1##*/}/cfg.json"
expect 2 eval "given/${1##*/}" --spec data.yaml --name x --quiet
said err "were changed since"
expect 0 inspect "given/${1##*/}"
said out "looks off: "

# One that fails among several does not stop the others.
expect 1 eval "given/${1##*/}" sparse --spec data.yaml --name y --quiet
said out "1 of 2 evaluated on data"

# One named twice is evaluated once; two results never go to one place.
expect 0 eval sparse ./sparse --spec data.yaml --name twice --quiet
mkdir below && cp -r "given/${1##*/}" below/sparse
cd below
expect 1 eval ../sparse ./sparse --spec ../data.yaml --out all --quiet
said out "its results would go to all/sparse, as those of ../sparse do"
expect 1 eval ./sparse ../below/../sparse --spec ../data.yaml --out all --rerun --quiet
said out "its results would go to all/sparse, as those of ./sparse do"
cd ..

# Inputs scaled by nobody knows what: no evaluation, whatever the activation; an export leaves it as unknown as it was.
for run in "$afa" "$plain"; do
    rm -rf unscaled && cp -r "$run/sae" unscaled
    sed -i 's/"normalize_activations": "[a-z_]*"/"normalize_activations": "expected_average_only_in"/' unscaled/cfg.json
    expect 2 eval unscaled --spec data.yaml --quiet
    said err "scaled by a factor that is not in the files"
done
expect 0 export unscaled --to saelens still-unscaled

# A different width is no SAE for this data.
expect 2 eval sparse --spec data.yaml dataset.d_in=16 --name z
said err "but the spec has a dataset of width 16"
