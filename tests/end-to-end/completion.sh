# The bash completion offers commands, each command's options, plugins and spec files.
. "${0%/*}/lib.sh"
command -v bash >/dev/null 2>&1 || skip "no bash"
cd "$work"
mkdir bin specs
ln -s "$quasar" bin/quasar
touch specs/one.yaml specs/two.yml specs/three.txt

cat >complete.bash <<'END'
. "$1"
shift
COMP_WORDS=(quasar "$@")
COMP_CWORD=$#
_quasar
printf '%s\n' "${COMPREPLY[@]}" | sort
END

# offers EXPECTED WORDS...: completing the last word gives these, in order.
offers() {
    expected=$1
    shift
    PATH=$work/bin:$PATH bash complete.bash "$source_folder/docs/quasar.bash" "$@" 2>complaints >got
    [ ! -s complaints ] || fail "bash: $(cat complaints)"
    [ "$(tr '\n' ' ' <got)" = "$expected " ] || fail "quasar $*: offered $(tr '\n' ' ' <got), not $expected"
}
offers "run" ru
offers "plot plugins" pl
offers "report" rep
offers "--out --overlay" plot zf --o
offers "zf" plot z
offers "--help --version" --
offers "--out" run --o
offers "--canonical" show --can
offers "--names" plugins --n
offers "specs/one.yaml specs/two.yml" run specs/
offers "activation/topafa activation/topk" help activation/top
offers "loss/l0 loss/l1" check loss/l
offers "specs" eval sp
offers "specs" run --out sp
offers "specs/one.yaml" eval dir --spec specs/o
