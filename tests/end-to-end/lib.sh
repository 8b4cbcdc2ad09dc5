# What the end-to-end tests share; sourced first. Run by `make check`, or by hand from the build folder:
#     QUASAR_SOURCE=.. sh ../tests/end-to-end/help.sh
set -eu
source_folder=${QUASAR_SOURCE:?the source folder, set by make check}
build_folder=${QUASAR_BUILD:-$PWD}
quasar=$build_folder/quasar
unset QUASAR_LOG QUASAR_ISA TERM
export LC_ALL=C
work=$(mktemp -d "${TMPDIR:-/tmp}/quasar-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
export QUASAR_CACHE=$work/cache

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

skip() {
    echo "SKIP: $*"
    exit 77
}

# expect CODE WORDS...: runs quasar with these words, keeps its output in $work/out and $work/err, checks the exit code.
expect() {
    wanted=$1
    shift
    code=0
    "$quasar" "$@" >"$work/out" 2>"$work/err" || code=$?
    [ "$code" -eq "$wanted" ] || {
        cat "$work/out" "$work/err" >&2
        fail "quasar $*: exit code $code, expected $wanted"
    }
}

# said FILE TEXT: the file ("out" or "err") contains the text, taken literally.
said() {
    grep -qF -e "$2" "$work/$1" || {
        cat "$work/$1" >&2
        fail "expected in std$1: $2"
    }
}

# exactly FILE: the file is what stands on standard input, to the byte.
exactly() {
    cat >"$work/expected"
    diff -u "$work/expected" "$work/$1" >&2 || fail "std$1 differs (- expected, + got)"
}

# The bytes of one run, or of all runs below a folder, that equal runs agree in: a line for each file, with its digest.
bytes_of() {
    (cd "$1" && find . \( -name metrics.jsonl -o -name result.json -o -name tokens.csv -o -name latents.csv -o -name top_contexts.jsonl -o -path '*/sae/*' \) -type f | sort | xargs cksum)
}

# same_bytes A B: two folders of runs hold the same cells with the same bytes.
same_bytes() {
    bytes_of "$1" >"$work/bytes-a"
    bytes_of "$2" >"$work/bytes-b"
    [ -s "$work/bytes-a" ] || fail "$1 holds no run"
    diff "$work/bytes-a" "$work/bytes-b" >&2 || fail "$1 and $2 differ in these bytes"
}

# shimmed VARIABLE=VALUE... WORDS...: runs a command with tests/fixtures/shim.c preloaded, which kills, fails, or turns back the clock.
shimmed() { env LD_PRELOAD="$build_folder/tests/fixtures/.libs/shim.so" ASAN_OPTIONS="verify_asan_link_order=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}" "$@"; }
