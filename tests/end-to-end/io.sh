# Every operation that changes a disk is a moment to die and a moment to find the disk full: a small run is killed before each of them in
# turn, and each of them fails in turn. Whatever was left, the same command (with --rerun failed where the cell is marked failed) then
# ends with the bytes of an undisturbed run. QUASAR_IO_STRIDE=n tries every n-th operation (default 3;
# make soak tries all).
. "${0%/*}/lib.sh"
cd "$work"
stride=${QUASAR_IO_STRIDE:-3}
cat >tiny.yaml <<'YAML'
name: tiny
dataset: { plugin: synthetic, d_in: 8, features: 16, l0: 2 }
sae: { d_sae: 16 }
activation: { plugin: batchtopk, k: 2 }
train: { tokens: 1280, batch: 128, log_every: 5, checkpoint_every: 4 }
eval: { tokens: 30 }
YAML

shimmed SHIM_COUNT="$work/count" "$quasar" run tiny.yaml --out reference --quiet --threads 1 >out 2>err || fail "the undisturbed run failed"
operations=$(cat count)
[ "$operations" -ge 60 ] || fail "only $operations operations were counted"
echo "$operations operations"

# go_on OUT: what a person would do next, then compare.
go_on() {
    if [ -n "$(find "$1" -name result.json -exec grep -l '"status": "failed"' {} +)" ]; then
        expect 0 run tiny.yaml --out "$1" --quiet --threads 1 --rerun failed
    else
        expect 0 run tiny.yaml --out "$1" --quiet --threads 1
    fi
    expect 0 status tiny.yaml --out "$1"
    same_bytes reference "$1"
    rm -rf "$1"
}

# Output to files: a shell says "Killed" on its own standard error.
n=1
while [ "$n" -le "$operations" ]; do
    code=0
    (shimmed SHIM_KILL_AT="$n" "$quasar" run tiny.yaml --out "killed" --quiet --threads 1 >out 2>err) 2>/dev/null || code=$?
    [ "$code" -eq 137 ] || fail "operation $n: exit code $code, expected death by SIGKILL"
    mkdir -p killed
    go_on killed
    n=$((n + stride))
done

n=1
failures=0
while [ "$n" -le "$operations" ]; do
    code=0
    shimmed SHIM_FAIL_AT="$n" "$quasar" run tiny.yaml --out full --quiet --threads 1 >out 2>err || code=$?
    case $code in
    0) ;;
    1 | 2)
        failures=$((failures + 1))
        grep -q "No space left on device" out err || {
            cat out err >&2
            fail "operation $n failed, and nothing says that there is no space"
        }
        ;;
    *)
        cat out err >&2
        fail "operation $n: exit code $code"
        ;;
    esac
    mkdir -p full
    go_on full
    n=$((n + stride))
done
[ "$failures" -ge 10 ] || fail "only $failures failed operations made the run fail"
