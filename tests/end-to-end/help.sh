# Help: every command, option table and plugin explains itself, on standard output and with exit code 0.
. "${0%/*}/lib.sh"

expect 0 --help
cp "$work/out" "$work/overview"
expect 0 help
cmp "$work/out" "$work/overview" || fail "quasar help and quasar --help differ"
commands=$(sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' "$work/overview")
[ "$(echo "$commands" | wc -w)" -ge 8 ] || fail "the overview lists only: $commands"
for command in $commands; do
    expect 0 "$command" --help
    said out "usage: quasar $command"
    said out "--help, -h"
    cp "$work/out" "$work/once"
    expect 0 "$command" -h
    cmp "$work/out" "$work/once"
    expect 0 help "$command"
    cmp "$work/out" "$work/once"
done

expect 0 help spec
for word in d_sae clip_norm b_dec_init skip_first log_every; do said out "$word"; done

expect 0 plugins --names
cp "$work/out" "$work/names"
for name in activation/topk loss/mse dataset/gpt2; do grep -qx "$name" "$work/names" || fail "no plugin $name"; done
while read -r name; do
    expect 0 help "$name"
    said out "$name"
done <"$work/names"
expect 0 help activation/topk
said out "latents"
expect 0 help topk
said out "activation/topk"

expect 0 plugins
said out "KIND"
[ "$(sed 1d "$work/out" | wc -l)" -eq "$(wc -l <"$work/names")" ] || fail "plugins and plugins --names differ in number"

expect 0 --version
said out "quasar "
said out "plugin ABI 1."
expect 0 doctor
said out "BLAS kernel"
said out "instruction set"
said out "everything needed is usable"
expect 0 doctor --threads 1
said out "1 of "
