# Every plugin of ours has a commented spec that mentions each of its options; each spec, preset and the quickstart resolves,
# and each plugin's spec runs.
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
