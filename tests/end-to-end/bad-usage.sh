# Bad command lines: the exact words on standard error, nothing on standard output, exit code 2.
. "${0%/*}/lib.sh"
cd "$work"

# refuses TEXT WORDS...: the first line of what is said is TEXT.
refuses() {
    text=$1
    shift
    expect 2 "$@"
    [ ! -s out ] || fail "quasar $*: something on standard output"
    head -n 1 err >first
    [ "$(cat first)" = "$text" ] || fail "quasar $*
expected: $text
got:      $(cat first)"
}

refuses "usage: quasar COMMAND [words and options]"
refuses "quasar: unknown command 'rnu'; did you mean 'run'?" rnu
refuses "quasar: unknown command 'zzz'" zzz
refuses "quasar: unknown option '--outt'" --outt
refuses "quasar: unknown command ''" ""
refuses "quasar run: needs a spec" run
refuses "quasar run: needs a spec" run seed=1
refuses "quasar run: unknown option '--thread'; did you mean '--threads'?" run --thread 2 x.yaml
refuses "quasar run: unknown option '-x'" run -x x.yaml
refuses "quasar run: --threads needs a value: --threads N" run x.yaml --threads
refuses "quasar run: --out has an empty value; it takes DIR" run x.yaml --out=
refuses "quasar run: --quiet takes no value" run x.yaml --quiet=yes
refuses "quasar run: --threads is 'two', but must be a whole number from 1 to 1024" run x.yaml --threads two
refuses "quasar run: --threads is '0', but must be a whole number from 1 to 1024" run x.yaml --threads=0
refuses "quasar run: --threads is '-1', but must be a whole number from 1 to 1024" run x.yaml --threads=-1
refuses "quasar show: needs one spec, got 0" show
refuses "quasar show: needs one spec, got 2" show a.yaml b.yaml
refuses "quasar show: --canonical and --id exclude each other" show a.yaml --canonical --id
refuses "quasar eval: needs a run, an SAE, or a folder of them" eval
refuses "quasar eval: needs --spec SPEC" eval some-folder
refuses "quasar check: needs a file or KIND/NAME; \`quasar plugins\` lists the names" check
refuses "quasar check: unknown option '--quite'; did you mean '--quiet'?" check --quite activation/topk
refuses "quasar plugins: takes no operands; \`quasar help KIND/NAME\` explains one" plugins topk
refuses "quasar version: takes no operands" version now
refuses "quasar doctor: takes no operands" doctor who
refuses "quasar help: explains one thing at a time" help run show

# After -- everything is an operand, and a file may be called anything.
expect 2 show -- --id
said err "--id"
# A misspelt plugin is suggested.
expect 2 help activation/topkk
said err "topk"
expect 2 check activation/topkk
said err "topk"
[ -z "$(ls -A | grep -v -x -e out -e err -e first)" ] || fail "something was created: $(ls)"
