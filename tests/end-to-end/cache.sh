# `quasar cache` on a model: several hooks in one pass, killed at random moments and begun again; training from it, in a grid over
# hooks, without the tokens that are excluded, gives the bytes of training from the model. QUASAR_SEED decides the moments.
. "${0%/*}/lib.sh"
cd "$work"
model=$source_folder/experiments/data/tiny-gpt2
{ # the first 12,800 of its tokens, as .npy
    printf '\223NUMPY\001\000\166\000'
    printf "%-117s\n" "{'descr': '<u2', 'fortran_order': False, 'shape': (12800,), }"
    tail -c +129 "$model/tokens.npy" | head -c 25600
} >tokens.npy
cat >live.yaml <<YAML
name: grid
dataset:
  plugin: gpt2
  model: $model
  tokens: tokens.npy
  hook: { layer: 1 }
  context: 32
  skip_first: 1
  exclude: [eot, 13]
  buffer: 2000
sae: { d_sae: 64 }
activation: { plugin: topk, k: 4 }
train: { tokens: 6400, batch: 128, lr: 1e-3 }
eval: { tokens: 1000, ce_tokens: 0 }
grid: [{ dataset.hook.layer: [0, 2] }]
YAML
sed -e '/model:/d' -e '/tokens: tokens/d' -e '/context:/d' -e 's/plugin: gpt2/plugin: activations/' -e 's/hook: .*/cache: acts/' live.yaml >stored.yaml

expect 0 cache live.yaml --out whole --shard-size 64KiB --dry-run
said out "400 units of 32 rows, 128 wide, as F32 in 100 shards"
[ ! -e whole ] || fail "--dry-run created something"
expect 0 cache live.yaml --out whole --shard-size 64KiB --quiet
said out "whole/resid_pre-2: 12800 rows, mean norm"
[ -f whole/resid_pre-0/shard-000099.safetensors ] || fail "a shard is missing"
[ -f whole/resid_pre-0/vocabulary.safetensors ] || fail "the vocabulary is missing"

# Killed at random moments until it completes.
seed=${QUASAR_SEED:-1}
awk -v seed="$seed" 'BEGIN { srand(seed); for (i = 0; i < 30; i++) printf "%.3f\n", 0.02 + rand() * (0.1 + i * i * 0.004) }' >moments
killed=0
while read -r moment; do
    code=0
    (timeout -s KILL "$moment" "$quasar" cache live.yaml --out acts --shard-size 64KiB --quiet >out 2>err) 2>/dev/null || code=$?
    [ $code -ne 0 ] || break
    [ $code -eq 137 ] || { cat out err >&2; fail "exit code $code after $killed kills"; }
    killed=$((killed + 1))
done <moments
expect 0 cache live.yaml --out acts --shard-size 64KiB --quiet
diff -r whole acts >&2 || fail "killed $killed times (seed $seed), the cache differs"

# Both layers in lockstep, from the model and from the cache.
expect 0 run live.yaml --out runs-live --quiet --threads 1
expect 0 run stored.yaml --out runs-stored --quiet --threads 2
for layer in 0 2; do
    live=$(grep -l "layer: $layer" runs-live/grid/*/spec.yaml) stored=$(grep -l "layer: $layer" runs-stored/grid/*/spec.yaml)
    for file in metrics.jsonl tokens.csv latents.csv top_contexts.jsonl sae/sae_weights.safetensors; do
        cmp "${live%/*}/$file" "${stored%/*}/$file" || fail "layer $layer: $file differs between model and cache"
    done
    grep -v '"cell"' "${live%/*}/result.json" >a
    grep -v '"cell"' "${stored%/*}/result.json" | diff a - >&2 || fail "layer $layer: result.json differs"
    grep -q '"excluded"' a || fail "result.json does not say how many rows were excluded"
done

# What was trained from a cache says which hook of which model it is for: the model's own spec judges each at its place.
expect 0 eval runs-stored --spec live.yaml --name model --quiet
for layer in 0 2; do
    live=$(grep -l "layer: $layer" runs-live/grid/*/spec.yaml) stored=$(grep -l "layer: $layer" runs-stored/grid/*/spec.yaml)
    grep -q "blocks.$layer.hook_resid_pre" "${stored%/*}/sae/cfg.json" || fail "cfg.json does not name the hook of layer $layer"
    grep '"nmse"' "${live%/*}/result.json" >a
    grep '"nmse"' "${stored%/*}/eval/model/result.json" | diff a - >&2 || fail "layer $layer of the cache is judged at another place"
    grep -q '"held_out": null' "${stored%/*}/eval/model/result.json" || fail "through another dataset nobody knows what was held out"
done

# Conformance with and without a hook to choose; the model that filled it, and another.
expect 0 check dataset/activations cache=acts/resid_pre-2 exclude=eot
expect 0 check dataset/activations cache=acts hook.layer=0
sed -e "s#cache: acts#{cache: acts, model: $model}#" -e 's#^  {\(.*\), \(.*\)}#  \1\n  \2#' stored.yaml >checked.yaml
expect 0 run checked.yaml --dry-run --out none
mkdir other && cp "$model/config.json" other && printf x >other/model.safetensors
expect 2 run checked.yaml dataset.model=other --out none
said err "other/model.safetensors is not what acts/resid_pre-0 was filled with"
echo "killed $killed times"
