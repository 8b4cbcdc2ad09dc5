# Going on where a run stopped: from the checkpoint before a damaged one, from the beginning when both are damaged; not with other inputs
# nor, unless forced, under another instruction set; with a clock that goes backwards; after Ctrl-C, SIGTERM and SIGKILL. And `quasar
# status` says each time how the cell stands.
. "${0%/*}/lib.sh"
cd "$work"
cat >small.yaml <<'YAML'
name: small
dataset: { plugin: activations, path: rows.npy }
sae: { d_sae: 48 }
activation: { plugin: batchtopk, k: 3 }
losses: { mse: {}, auxk: { coeff: 1/32, dead_after: 1000 } }
train: { tokens: 3840, batch: 128, log_every: 3, checkpoint_every: 6 }
eval: { tokens: 100 }
YAML
# 600 rows of 8 numbers in ±[1/8, 2), as float16 in an .npy file of version 1.0.
make_rows() {
    {
        printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f2', 'fortran_order': False, 'shape': (600, 8), }"
        # shellcheck disable=SC2059 # escapes are meant
        printf "$(awk -v seed="$1" 'BEGIN {
            srand(seed)
            for (i = 0; i < 4800; i++) printf "\\%03o\\%03o", int(rand() * 256), 48 + int(rand() * 16) + 128 * (rand() < 0.5)
        }')"
    } >rows.npy
}
make_rows 1

# stop N: a run killed before its N-th rename: spec.yaml, manifest.json, then checkpoints after steps 6, 12, 18, 24.
stop() {
    rm -rf runs
    code=0
    (shimmed SHIM_KILL_AT="rename:$1" "$quasar" run small.yaml --out runs --quiet >out 2>err) 2>/dev/null || code=$?
    [ $code -eq 137 ] || fail "exit code $code, expected death by SIGKILL"
    cell=$(echo runs/small/*)
}
expect 0 run small.yaml --out reference --quiet

stop 6
expect 1 status small.yaml --out runs
said out "interrupted  18 of 30"
expect 0 run small.yaml --out runs --dry-run
said out "go on"
said out "interrupted at step 18 of 30"
expect 0 run small.yaml --out runs --quiet
[ ! -s err ] || fail "resuming a sound run warned: $(cat err)"
same_bytes reference runs
[ ! -e "$cell/checkpoint" ] && [ ! -e "$cell/.reserve" ] || fail "a completed cell keeps its checkpoints or its reserve"

# ---- damage

damage() { printf 'damage' | dd of="$1" bs=1 seek=2000 conv=notrunc 2>/dev/null; }
stop 6
[ "$(ls "$cell/checkpoint" | grep -c 'safetensors$')" -eq 2 ] || fail "there should be two checkpoints"
damage "$cell/checkpoint/step-000000000018.safetensors"
expect 0 run small.yaml --out runs --quiet
said err "step-000000000018.safetensors is damaged"
said err "trying the one before"
same_bytes reference runs

stop 6
damage "$cell/checkpoint/step-000000000018.safetensors"
: >"$cell/checkpoint/step-000000000012.safetensors"
expect 0 run small.yaml --out runs --quiet
said err "no checkpoint is sound; it begins anew"
same_bytes reference runs

# A log that lost lines cannot be cut to where the newest checkpoint was.
stop 6
head -n 5 "$cell/metrics.jsonl" >short
cp short "$cell/metrics.jsonl"
expect 0 run small.yaml --out runs --quiet
said err "metrics.jsonl is shorter than"
same_bytes reference runs

# ---- other inputs

stop 6
cp rows.npy kept.npy
make_rows 2
expect 1 run small.yaml --out runs --quiet
said out "stale"
said out "the input $PWD/rows.npy has changed (digest"
expect 1 status small.yaml --out runs
said out "stale"
[ -e "$cell/checkpoint/step-000000000018.safetensors" ] || fail "a refused resume removed its checkpoint"
cp kept.npy rows.npy
expect 0 run small.yaml --out runs --quiet
same_bytes reference runs
# A completed cell goes stale as well, and comes back with its input; --rerun stale trains it again.
make_rows 2
expect 1 status runs
said out "the input $PWD/rows.npy has changed"
expect 1 run small.yaml --out runs --quiet
expect 0 run small.yaml --out runs --quiet --rerun stale
expect 0 status runs
expect 1 diff "$cell" reference/small/*
said out "inputs"
said out "step 0 loss"
cp kept.npy rows.npy
# The folder from which a spec is reached makes nothing stale, nor does moving everything.
mkdir elsewhere
(cd elsewhere && expect 0 run ../small.yaml --out ../reference --quiet && said out "already complete") || fail "the working directory matters"
mkdir moved
cp -R small.yaml rows.npy reference moved
(cd moved && rm ../rows.npy && expect 0 run small.yaml --out reference --quiet && said out "already complete") || fail "moved, it is stale"
cp kept.npy rows.npy

# ---- another instruction set

if "$quasar" doctor | grep -q avx2; then
    stop 6
    code=0
    QUASAR_ISA=portable "$quasar" run small.yaml --out runs --quiet >out 2>err || code=$?
    [ $code -eq 1 ] || fail "another instruction set: exit code $code"
    said out "was begun with instruction set"
    said out "--force"
    QUASAR_ISA=portable "$quasar" run small.yaml --out runs --quiet --force >out 2>err || fail "--force did not go on"
    said err "resumed under portable"
    grep -q '"forced": true' "$cell/manifest.json" || fail "the manifest does not say that it was forced"
else
    echo "not tested: another instruction set, since there is only one here"
fi

# ---- signals, the clock

cat >long.yaml <<'YAML'
extends: small.yaml
train: { tokens: 640_000, log_every: 100, checkpoint_every: 100 }
seeds: [1, 2]
YAML
expect 0 run long.yaml --out long-reference --quiet
for signal in INT TERM KILL; do
    "$quasar" run long.yaml --out long --quiet >out 2>err &
    pid=$!
    tries=0
    logged=$(cat long/small/*/metrics.jsonl 2>/dev/null | wc -l)
    until [ "$(cat long/small/*/metrics.jsonl 2>/dev/null | wc -l)" -gt $((logged + 2)) ] || [ $tries -eq 600 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    kill -$signal $pid
    code=0
    wait $pid 2>/dev/null || code=$?
    case $signal in KILL) wanted=137 ;; *) wanted=130 ;; esac
    [ $code -eq $wanted ] || fail "SIG$signal: exit code $code, expected $wanted"
    expect 1 status long.yaml --out long
    said out "2 interrupted"
done
expect 0 run long.yaml --out long --quiet
same_bytes long-reference long

shimmed SHIM_CLOCK=back "$quasar" run small.yaml --out backwards --quiet >out 2>err || fail "a clock that goes backwards stops a run"
same_bytes reference backwards
shimmed SHIM_CLOCK=back "$quasar" status backwards >out 2>err || fail "a clock that goes backwards confuses status"
started=$(sed -n 's/.*"started": "\(.*\)".*/\1/p' backwards/small/*/manifest.json)
finished=$(sed -n 's/.*"finished": "\(.*\)".*/\1/p' backwards/small/*/manifest.json)
[ "$(printf '%s\n%s\n' "$finished" "$started" | sort | head -n 1)" = "$finished" ] && [ "$started" != "$finished" ] ||
    fail "the clock did not go backwards: $started, $finished"
