# A disk that is full, at any size of it: cells fail with their reason in result.json (for which a few KiB are reserved), or the run ends
# with a message; nothing crashes, and with room again it goes on to the bytes of an undisturbed run. Then a read-only disk. Mounts a
# small tmpfs, so it needs root. (io.sh fails single operations and needs nobody's rights.)
. "${0%/*}/lib.sh"
cd "$work"
mkdir disk
mount -t tmpfs -o size=1m none disk 2>/dev/null || skip "mounting a tmpfs needs root"
trap 'umount "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT
cat >grid.yaml <<'YAML'
name: grid
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 64 }
activation: { plugin: topk, k: 3 }
train: { tokens: 3840, batch: 128, log_every: 1, checkpoint_every: 5 }
eval: { tokens: 500 }
seeds: [1, 2, 3]
YAML
expect 0 run grid.yaml --out reference --quiet

told=0
ended=0
for size in 16 32 48 64 80 96 112 128 144 160 176 192 208 224 240 256 272 288 304 320 352 384 448 512 640 768 1024; do
    mount -o remount,size=${size}k disk
    code=0
    "$quasar" run grid.yaml --out disk/runs --quiet >out 2>err || code=$?
    case $code in
    0) ended=$((ended + 1)) ;;
    1 | 2)
        grep -q "No space left on device" out err || {
            cat out err >&2
            fail "$size KiB: exit code $code, and nothing says that there is no space"
        }
        ;;
    *)
        cat out err >&2
        fail "$size KiB: exit code $code"
        ;;
    esac
    # Whatever the program says has failed, its folder says so too.
    for result in disk/runs/grid/*/result.json; do
        [ -f "$result" ] && grep -q '"status": "failed"' "$result" || continue
        grep -q '"reason": "cannot write .*No space left on device"' "$result" || fail "$size KiB: $result gives another reason"
        told=$((told + 1))
    done
    if grep -q "the reason could not be written" err; then
        cat err >&2
        fail "$size KiB: the reserve did not suffice"
    fi
    mount -o remount,size=2m disk
    expect 0 run grid.yaml --out disk/runs --quiet --rerun failed
    same_bytes reference disk/runs
    rm -rf disk/runs
done
[ $told -ge 10 ] || fail "only $told cells failed and said so"
[ $ended -ge 1 ] || fail "not even the largest disk was large enough"

# ---- read-only

expect 0 run grid.yaml seeds=[1,2] --out disk/runs --quiet
"$quasar" run grid.yaml train.tokens=2_000_000 seeds=[1] --out disk/runs --quiet >out 2>err &
pid=$!
tries=0
until [ "$(find disk/runs -name 'step-*.safetensors' | wc -l)" -ge 1 ] || [ $tries -eq 600 ]; do
    sleep 0.02
    tries=$((tries + 1))
done
kill -TERM $pid
code=0
wait $pid || code=$?
[ $code -eq 130 ] || fail "exit code $code, expected 130"
mount -o remount,ro disk
expect 0 run grid.yaml seeds=[1,2] --out disk/runs --quiet
said out "already complete"
expect 0 status grid.yaml seeds=[1,2] --out disk/runs
expect 2 run grid.yaml --out disk/runs --quiet
said err "Read-only file system"
expect 2 run grid.yaml --out disk/new --quiet
said err "cannot create folder disk/new: Read-only file system"
expect 2 run grid.yaml train.tokens=2_000_000 seeds=[1] --out disk/runs --quiet
said err "Read-only file system"
mount -o remount,rw disk
expect 1 status grid.yaml train.tokens=2_000_000 seeds=[1] --out disk/runs
said out "interrupted"
