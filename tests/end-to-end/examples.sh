# Every plugin of ours has a commented spec that mentions each of its options; each spec, preset and the quickstart resolves,
# each plugin's spec runs, and so does the small one of the paper's grids, much shortened.
. "${0%/*}/lib.sh"
experiments=$source_folder/experiments

expect 0 show "$experiments/quickstart.yaml"
expect 0 show "$experiments/quickstart.yaml" train.tokens=400_000 activation.k=8
said out "k: 8"
cat >"$work/released.yaml" <<'END'
extends: presets/released.yaml
name: released
dataset: { plugin: synthetic }
sae: { d_sae: 1024 }
activation: { plugin: topk, k: 8 }
train: { tokens: 8192 }
END
expect 0 show "$work/released.yaml" --canonical
for word in "init: released" "b_dec_init: zero" "decoder_norm: before_step" "detach_residual: false"; do said out "$word"; done

expect 0 plugins --names
cp "$work/out" "$work/names"
while IFS=/ read -r kind name; do
    case $kind in loss) folder=losses ;; *) folder=${kind}s ;; esac
    spec=$experiments/plugins/$folder/$name.yaml
    [ -f "$spec" ] || fail "no example spec for $kind/$name: $spec"
    head -n 1 "$spec" | grep -q "^# $name: " || fail "$spec does not begin with '# $name: ' and what it does"
    expect 0 help "$kind/$name"
    for option in $(sed -n 's/^  \([a-z][a-z0-9_.]*\).*/\1/p' "$work/out"); do
        grep -q "\<${option##*.}:" "$spec" || fail "$spec does not show the option $option"
    done
    expect 0 show "$spec"
    said out "plugin: $name"
    expect 0 run "$spec" --out "$work/runs" --quiet
    said out "completed"
done <"$work/names"

# The paper's grid: 3 layers x (9 k of topk + 9 of batchtopk + 5 coefficients), shown without the files it names.
expect 0 show "$experiments/paper/gpt2-small.yaml" --cells
said out "paper-gpt2-small: 69 cells"
for plugin in topk:27 batchtopk:27 topafa:15; do
    count=$(grep -c "^${plugin%:*}-" "$work/out")
    [ "$count" -eq "${plugin#*:}" ] || fail "$count cells of ${plugin%:*}, not ${plugin#*:}"
done
for layer in 6 7 8; do
    [ "$(grep -c "^[^ ]*  *$layer " "$work/out")" -eq 23 ] || fail "layer $layer does not have 23 cells"
done
expect 0 show "$experiments/paper/gpt2-small.yaml" --cell "$("$quasar" show "$experiments/paper/gpt2-small.yaml" --id | tail -n 1)"
for word in "lr: 0.0003" "batch: 4096" "tokens: 81920000" "d_sae: 12288" "init: released" "coeff: 0.0625" "site: resid_pre"; do
    said out "$word"
done

# Its twin runs: all blocks, one seed, one layer, a few steps.
expect 0 show "$experiments/paper/tiny-gpt2.yaml" --cells
said out "paper-tiny-gpt2: 66 cells"
expect 0 run "$experiments/paper/tiny-gpt2.yaml" dataset.hook.layer=3 seeds=49 train.tokens=2048 dataset.buffer=2048 \
    eval.tokens=512 --out "$work/runs" --quiet
[ "$(grep -c '  completed  ' "$work/out")" -eq 11 ] || fail "not all 11 cells of the shortened grid were completed"
