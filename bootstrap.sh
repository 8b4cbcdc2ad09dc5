#!/bin/sh
# bootstrap.sh: from a fresh clone or an unpacked tarball to a built, tried or checked Quasar. `./bootstrap.sh --help` says how.
set -eu
cd "$(dirname "$0")"

BUILD_PACKAGES="gcc libc6-dev make autoconf automake libtool pkg-config libyaml-dev libopenblas-dev libjansson-dev libxxhash-dev libsqlite3-dev libpcre2-dev zlib1g-dev libzstd-dev libzip-dev libcmocka-dev gnuplot-nox"
CHECK_PACKAGES="valgrind xz-utils"
LIBRARIES="yaml-0.1 openblas jansson libxxhash sqlite3 libpcre2-8 zlib libzstd libzip"
logs=build
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
passed=0
failed=0
skipped=0
began=$(date +%s)

usage() {
    cat <<'END'
usage: ./bootstrap.sh --run | --check | --deps | --help

  --run     install what is missing, build in ./build, run experiments/quickstart.yaml into ./runs,
            and write runs/report.html
  --check   install what is missing, build and test everything: unit and end-to-end tests, sanitizers, valgrind,
            make distcheck, make installcheck; under 15 minutes on two cores. Ends with "N passed, N failed".
  --deps    install what is missing, and stop
  --help    print this

Missing Debian packages are installed with apt-get (through sudo unless you are root); nothing else is changed outside
this folder. Full logs are in build/*.log.
END
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'bootstrap.sh: %s\n' "$*" >&2
    exit 1
}

# ---- packages

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

missing_packages() {
    for package; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || printf '%s ' "$package"
    done
}

# Without dpkg nothing can be installed, but everything may be there already.
look_for_tools() {
    lacking=
    for tool in cc make autoconf automake libtoolize pkg-config; do
        command -v "$tool" >/dev/null 2>&1 || lacking="$lacking $tool"
    done
    for library in $LIBRARIES; do
        pkg-config --exists "$library" 2>/dev/null || lacking="$lacking $library"
    done
    [ -z "$lacking" ] || die "this is not a Debian system, and these are missing:$lacking
Install them with your system's package manager (their Debian names: $BUILD_PACKAGES), then run this again."
}

install_packages() {
    if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
        look_for_tools
        return
    fi
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
        die "these packages are missing, and there is no sudo: $missing
Run as root: apt-get install $missing"
    say "installing: $missing"
    # The lists of a fresh image are empty, and old ones name versions that are gone: update only then.
    # shellcheck disable=SC2086 # a list of words
    if ! try_install $missing; then
        step packages as_root apt-get -q update
        step packages try_install $missing
    fi
}

try_install() { as_root apt-get -qy --no-install-recommends install "$@" </dev/null >>"$logs/packages.log" 2>&1; }

# ---- stages

seconds_since() { echo $(($(date +%s) - $1)); }

show_log() {
    say "---- the end of $1"
    tail -n 60 "$1"
    say "---- all of it: $1"
}

# step LOG COMMAND...: quiet; shows the end of the log and stops when the command fails.
step() {
    log=$logs/$1.log
    shift
    "$@" >>"$log" 2>&1 </dev/null || {
        show_log "$log" >&2
        die "failed: $*"
    }
}

# stage LOG TITLE COMMAND...: the same for --check, with a line and the time; a failure is counted and we go on.
# What `make check` counted in the log counts; a stage without such counts is one test itself.
stage() {
    log=$logs/$1.log
    printf '%-58s' "$2"
    shift 2
    : >"$log"
    start=$(date +%s)
    status=ok
    "$@" >"$log" 2>&1 </dev/null || status=FAILED
    count_log "$log" "$status"
    printf '%-7s %4d s%s\n' "$status" "$(seconds_since "$start")" "$counts"
    [ "$status" = ok ] || show_log "$log"
    [ "$status" = ok ]
}

sum_of() { sed -n "s/^# $2: *\([0-9][0-9]*\)\$/\1/p" "$1" | awk '{ n += $1 } END { print n + 0 }'; }

count_log() {
    counts=
    good=$(($(sum_of "$1" PASS) + $(sum_of "$1" XFAIL)))
    bad=$(($(sum_of "$1" FAIL) + $(sum_of "$1" XPASS) + $(sum_of "$1" ERROR)))
    omitted=$(sum_of "$1" SKIP)
    if [ $((good + bad + omitted)) -gt 0 ]; then counts="   $good passed, $bad failed, $omitted skipped"; fi
    if [ "$2" = FAILED ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ $((good + bad + omitted)) -eq 0 ]; then good=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    skipped=$((skipped + omitted))
}

not_tested() {
    printf '%-58snot tested: %s\n' "$1" "$2"
    skipped=$((skipped + 1))
}

# ---- building

regenerate() {
    if [ ! -f configure ] || [ ! -f Makefile.in ] ||
        [ -n "$(find configure.ac Makefile.am framework plugins experiments docs tests \
            \( -name configure.ac -o -name '*.am' -o -name '*.mk' \) -newer Makefile.in 2>/dev/null)" ]; then
        autoreconf -fi
    fi
}

# configure_in FOLDER OPTIONS...: configures once, and again when configure or the options changed.
configure_in() {
    folder=$1
    shift
    source=$PWD
    mkdir -p "$folder"
    if [ -f "$folder/config.status" ] && [ -z "$(find configure -newer "$folder/config.status")" ] &&
        [ "$(cat "$folder/configured-with" 2>/dev/null)" = "$*" ]; then
        return 0
    fi
    (cd "$folder" && "$source/configure" -q "$@") && printf '%s\n' "$*" >"$folder/configured-with"
}

run_quickstart() {
    say "building in ./build (log: build/build.log)"
    : >"$logs/build.log"
    step build regenerate
    step build configure_in build
    step build make -C build -s "-j$jobs"
    say "built in $(seconds_since "$began") s; now: build/quasar run experiments/quickstart.yaml --out runs"
    say ""
    build/quasar run experiments/quickstart.yaml --out runs
    say ""
    build/quasar report runs -o runs/report.html
    say ""
    say "The program is build/quasar, the run's files are under $PWD/runs/quickstart/. README.md says what to try next."
    say "The report, for a browser: $PWD/runs/report.html"
}

# ---- checking

# A short experiment on the tiny model: every part of a run, in seconds even under valgrind, which makes arithmetic some
# hundred times slower (so no b_dec_init: mean, which would first look at 65,536 rows, and no loss of the model, which takes
# the mean of 16,384; the unit tests have that under the sanitizers).
short_run() {
    folder=$1
    shift
    rm -rf "$folder/short-run"
    "$@" "$folder/quasar" run experiments/quickstart.yaml dataset.context=16 dataset.hook.layer=1 dataset.forward_contexts=1 \
        dataset.buffer=256 train.tokens=1024 train.batch=128 sae.d_sae=256 sae.b_dec_init=zero losses.auxk.dead_after=256 \
        eval.tokens=128 eval.ce_tokens=0 --out "$folder/short-run"
}

tree_state() { git status --porcelain 2>/dev/null || true; }

tree_unchanged() {
    now=$(tree_state)
    [ "$now" = "$tree_before" ] && return 0
    say "before the check:" "$tree_before"
    say "after it:" "$now"
    return 1
}

check_all() {
    tree_before=$(tree_state)
    normal=build/check
    guarded=build/sanitized
    # A temporary prefix, for `make install` and the tests of what it installed.
    stage regenerate "autoreconf" regenerate || return 0
    stage configure "configure --enable-werror" configure_in "$normal" --enable-werror --prefix="$PWD/build/check/prefix" || return 0
    stage build "build without a warning" make -C "$normal" -s "-j$jobs" || return 0
    stage check "make check" make -C "$normal" -s "-j$jobs" check || true
    stage install "make install, make installcheck (temporary prefix)" install_and_check || true
    if command -v valgrind >/dev/null 2>&1; then
        stage valgrind "a short run under valgrind" short_run "$normal" valgrind -q --error-exitcode=9 --leak-check=full \
            --errors-for-leak-kinds=definite || true
    else
        not_tested "a short run under valgrind" "valgrind is not installed"
    fi
    if stage sanitized-build "build with the address and undefined-behaviour sanitizers" build_guarded; then
        stage sanitized-check "unit tests under the sanitizers" make -C "$guarded" -s "-j$jobs" check-unit || true
        stage sanitized-run "a short run under the sanitizers" short_run "$guarded" || true
    fi
    stage distcheck "make distcheck" make -C "$normal" -s "-j$jobs" distcheck || true
    if [ -d .git ] && command -v git >/dev/null 2>&1; then
        stage tree "the checkout is as it was" tree_unchanged || true
    else
        not_tested "the checkout is as it was" "not a git checkout"
    fi
}

install_and_check() {
    rm -rf "$normal"/prefix
    make -C "$normal" -s install && make -C "$normal" -s installcheck
}

# Without --enable-werror: instrumented code makes gcc see null pointers and truncations that are not there.
build_guarded() {
    configure_in "$guarded" --with-sanitizer=address,undefined && make -C "$guarded" -s "-j$jobs" all &&
        make -C "$guarded" -s "-j$jobs" check TESTS=
}

[ $# -eq 1 ] || {
    usage >&2
    exit 2
}
case $1 in
--help | -h) usage ;;
--deps)
    mkdir -p "$logs"
    # shellcheck disable=SC2086 # lists of words
    install_packages $BUILD_PACKAGES $CHECK_PACKAGES
    say "everything that Quasar needs is installed"
    ;;
--run)
    mkdir -p "$logs"
    # shellcheck disable=SC2086
    install_packages $BUILD_PACKAGES
    run_quickstart
    ;;
--check)
    mkdir -p "$logs"
    # shellcheck disable=SC2086
    install_packages $BUILD_PACKAGES $CHECK_PACKAGES
    check_all
    say "all of it in $(seconds_since "$began") s"
    if [ $skipped -gt 0 ]; then
        say "$passed passed, $failed failed, $skipped skipped"
    else
        say "$passed passed, $failed failed"
    fi
    [ $failed -eq 0 ]
    ;;
*)
    usage >&2
    die "unknown option '$1'"
    ;;
esac
