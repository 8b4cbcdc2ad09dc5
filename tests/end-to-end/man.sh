# The man page names every command and every option that --help knows, under that command, and has no markup mistakes.
. "${0%/*}/lib.sh"
page=$source_folder/docs/quasar.1

expect 0 --help
commands=$(sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' "$work/out")
for command in $commands; do
    sed -n "/^\.SS $command\$/,/^\.S[SH] /p" "$page" | sed 's/\\-/-/g' >"$work/section"
    [ -s "$work/section" ] || fail "the man page has no section for $command"
    expect 0 "$command" --help
    for option in $(sed -n 's/^  \(--[a-z-]*\).*/\1/p' "$work/out"); do
        [ "$option" = --help ] || grep -q "^\.BI\{0,1\} $option\( .*\)\{0,1\}\$" "$work/section" ||
            fail "the man page does not explain $option of quasar $command"
    done
    for option in $(sed -n 's/^\.BI\{0,1\} \(--[a-z-]*\).*/\1/p' "$work/section"); do
        grep -q "^  $option" "$work/out" || fail "quasar $command has no $option, but the man page does"
    done
done
for name in $(sed -n 's/^\.SS //p' "$page"); do
    echo "$commands" | grep -qx "$name" || fail "the man page explains quasar $name, which does not exist"
done
for word in QUASAR_PLUGIN_PATH QUASAR_LOG QUASAR_ISA QUASAR_CACHE; do grep -q "$word" "$page" || fail "no $word in the man page"; done

command -v groff >/dev/null 2>&1 || skip "the markup was not looked at: no groff"
groff -man -Tascii -ww "$page" 2>"$work/warnings" >"$work/text" || fail "groff refuses the man page"
[ ! -s "$work/warnings" ] || {
    cat "$work/warnings" >&2
    fail "groff warns about the man page"
}
[ "$(wc -l <"$work/text")" -gt 100 ] || fail "the man page comes out too short"
