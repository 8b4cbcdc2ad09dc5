# `quasar check` finds every plugin of ours in order, by name and by file, and says so; what it is not given it asks for.
. "${0%/*}/lib.sh"
data=$source_folder/experiments/data

expect 0 plugins --names
cp "$work/out" "$work/names"
while read -r name; do
    case $name in
    dataset/activations) set -- "path=$data/hidden-states.npy" ;;
    dataset/gpt2) set -- "model=$data/tiny-gpt2" "tokens=$data/tiny-gpt2/tokens.npy" hook.layer=1 context=8 ;;
    *) set -- ;;
    esac
    expect 0 check "$name" "$@" --quiet
    said out " passed, 0 failed, "
    [ "$(wc -l <"$work/out")" -eq 1 ] || fail "--quiet lists more than failures"
done <"$work/names"

expect 0 check topk
said out "activation/topk"
said out "gradient"
expect 0 plugins
file=$(sed -n 's/^activation  relu .* \(\/.*\.so\)$/\1/p' "$work/out")
expect 0 check "$file" activation/topk
said out "activation/relu"
said out "activation/topk"

expect 1 check dataset/activations
said out "needs \`path\`"
expect 2 check activation/topk kk=3
said err "kk"
echo "not a plugin" >"$work/text.so"
expect 2 check "$work/text.so"
said err "text.so"
expect 2 check "$work/none.so"
said err "none.so"

# A plugin that crashes is a plugin that failed.
expect 1 check "$build_folder/tests/fixtures/.libs/crashes.so"
said out "manners  FAIL  the plugin crashed here (signal 11, Segmentation fault): what came after was not tested"
