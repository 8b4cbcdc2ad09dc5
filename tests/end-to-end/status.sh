# What is on disk, told: `quasar run --dry-run`, `quasar status`, `quasar diff`, `quasar gc`.
. "${0%/*}/lib.sh"
cd "$work"
cat >grid.yaml <<'YAML'
name: grid
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 3 }
train: { tokens: 1280, batch: 128, checkpoint_every: 4 }
eval: { tokens: 100 }
grid: [{ activation.k: [2, 4], dataset.seed: [0, 1] }]
YAML

# Before anything is there.
expect 0 run grid.yaml --out runs --dry-run --threads 1
said out "grid: 4 cells in 2 groups"
said out "  group 1: 2 cells on one stream of synthetic"
[ "$(grep -c ' train .* new$' out)" -eq 4 ] || fail "four cells should be new"
said out "4 of 4 would be trained in runs/grid"
said out "Nothing was created."
[ ! -e runs ] || fail "a dry run created something"
expect 1 status grid.yaml --out runs
said out "4 cells: 4 pending"
expect 2 status runs
said err "there is neither a folder nor a spec runs"
expect 2 run grid.yaml --out runs --dry-run "activation.k=2,400" --threads 1
said err "k=400 exceeds d_sae=48"
expect 0 run grid.yaml --out runs --dry-run --shard 1/2 --threads 1
[ "$(grep -c "another shard's" out)" -eq 2 ] || fail "half of the cells should be another shard's"

# The plan comes before the start, when there is something to plan, and is no result.
expect 0 run grid.yaml --out runs --threads 1
said err "grid: 4 cells in 2 groups"
said err "  group 2: 2 cells on one stream of synthetic"
expect 0 status runs
said out "4 cells: 4 done"
expect 0 run grid.yaml --out runs --dry-run --threads 1
said out "nothing to do"

# The disk estimate holds: what is left is at most what was said, and not a third of it either.
expect 0 run grid.yaml --out other --dry-run --threads 1
said_bytes=$(sed -n 's/.* of disk, \([0-9.]*\) KiB in the end.*/\1/p' out)
real_bytes=$(find runs -type f -exec cat {} + | wc -c)
awk -v said="$said_bytes" -v real="$real_bytes" 'BEGIN { exit !(real <= said * 1024 && real >= said * 1024 / 3) }' ||
    fail "the estimate is $said_bytes KiB, the files take $real_bytes bytes"

# One of each state.
set -- runs/grid/topk-*
first=$1
second=$2
third=$3
fourth=$4
expect 0 run grid.yaml dataset.seed=5 --out runs --quiet # two orphans of the spec as it stands
rm -r "$first"
sed -i 's/"version": "[^"]*"/"version": "0"/' "$second/manifest.json"
expect 1 status grid.yaml --out runs --json
grep -q '"state":"stale","orphan":false,"reason":"the plugin [a-z/]* was version 0 and is 1"' out || fail "no stale cell: $(cat out)"
[ "$(grep -o '"orphan":true' out | wc -l)" -eq 2 ] || fail "there should be two orphans"
expect 1 status runs
said out "stale"
sed -i 's/"quasar": "[^"]*"/"quasar": "0.0.1"/; s/"version": "0"/"version": "1"/' "$second/manifest.json"
expect 1 status runs
said out "Quasar was 0.0.1 and is"
expect 0 run grid.yaml --out runs --quiet --rerun stale
# A plugin rebuilt under the same version is a note, and the cell stays done.
sed -i 's/"digest": "[^"]*"/"digest": "0"/' "$third/manifest.json"
expect 0 status runs
said out "was rebuilt"
expect 0 run grid.yaml --out runs --quiet
[ "$(grep -c 'already complete' out)" -eq 4 ] || fail "a rebuilt plugin should make nothing stale"
# Files that cannot be understood.
cp "$second/result.json" kept
echo '{' >"$second/result.json"
expect 1 status grid.yaml --out runs
said out "broken"
said out "result.json:"
cp kept "$second/result.json"

# ---- diff

set -- "$fourth"
expect 0 run grid.yaml --out again --quiet --threads 2 train.log_every=3
expect 0 diff "$1" "again/grid/$(basename "$1")"
said out "equal, in all"
said out "machine (equal runs may differ here)"
said out "train.log_every"
expect 1 diff "$1" "$first"
said out "activation.k  4 "
said out "step 0 loss"
said out "different"
# A single value changed in the middle is found where it is.
cp -R "$1" changed
awk 'NR == 2 { sub(/"l0":[0-9.]*/, "\"l0\":3.5") } { print }' "$1/metrics.jsonl" >changed/metrics.jsonl
cmp -s "$1/metrics.jsonl" changed/metrics.jsonl && fail "nothing was changed"
expect 1 diff "$1" changed
said out "step 9 l0  4.0"
said out "different; equal in the first 1 logged steps"
cp "$1/metrics.jsonl" changed/metrics.jsonl
expect 0 diff "$1" changed
echo x >>changed/sae/cfg.json
expect 1 diff "$1" changed
said out "sae/cfg.json"
expect 2 diff "$1" runs
said err "runs is not the folder of one run"
expect 2 diff "$1" nowhere
said err "there is no folder nowhere"

# ---- gc

mkdir -p "$1/sae.tmp" "$1/checkpoint"
touch "$1/sae.tmp/cfg.json" "$1/metrics.jsonl.tmp-123" "$1/checkpoint/step-000000000004.safetensors" "$1/notes.tmp-of-mine"
expect 0 gc runs
said out "3 leftovers"
said out "nothing was removed"
expect 0 gc runs grid.yaml
said out "5 leftovers"
said out "the spec no longer produces it"
[ "$(grep -c 'A COMPLETED RUN of 10 steps, an orphan' out)" -eq 2 ] || fail "gc should say that the orphans are completed runs"
expect 0 gc runs grid.yaml --yes
said out "5 removed"
expect 0 gc runs grid.yaml
said out "0 leftovers"
[ -e "$1/notes.tmp-of-mine" ] && [ ! -e "$1/checkpoint" ] && [ ! -e "$1/sae.tmp" ] || fail "gc took too much or too little"
expect 0 status grid.yaml --out runs
grep -q orphan out && fail "an orphan is left"
expect 0 run grid.yaml --out fresh --quiet
same_bytes runs fresh

# ---- a completed run that lost a file: stale, for status, a dry run and a run alike, and trained again on demand

whole=fresh/grid/$(basename "$fourth")
cp -R "$whole" whole
# lost WHY COMMAND...: what is so after the command, and that --rerun stale mends it.
lost() {
    why=$1
    shift
    "$@"
    expect 1 status grid.yaml --out fresh
    said out "$why"
    said out "4 cells: 3 done, 1 stale"
    expect 1 status "$whole"
    said out "$why"
    expect 0 run grid.yaml --out fresh --dry-run --threads 1
    said out "stale: $why"
    expect 1 run grid.yaml --out fresh --quiet
    said err "quasar: grid $(basename "$whole") is stale: $why"
    said err "; --rerun stale trains it again"
    [ "$(grep -c 'already complete' out)" -eq 3 ] || fail "$*: three cells are whole"
    expect 0 run grid.yaml --out fresh --quiet --rerun stale
    [ "$(grep -c 'already complete' out)" -eq 3 ] || fail "$*: one cell should be trained again"
    expect 0 status grid.yaml --out fresh
    same_bytes whole "$whole"
}
# as_before COMMAND...: the same in a run whose manifest says nothing of its files.
as_before() {
    sed -i '/"files": {/,/}/d' "$whole/manifest.json"
    grep -q metrics.jsonl "$whole/manifest.json" && fail "the manifest still has lengths"
    "$@"
}
weights=sae/sae_weights.safetensors
lost "$weights is missing" rm "$whole/$weights"
lost "$weights is missing" rm -r "$whole/sae"
lost "sae/cfg.json is missing" rm "$whole/sae/cfg.json"
lost "$weights is shorter than its header says" truncate -s 1000 "$whole/$weights"
lost "$weights is shorter than its header says" truncate -s 0 "$whole/$weights"
lost "metrics.jsonl is missing" rm "$whole/metrics.jsonl"
lost "metrics.jsonl is shorter than it was: 100 of" truncate -s 100 "$whole/metrics.jsonl"
lost "tokens.csv is missing" rm "$whole/tokens.csv"
lost "tokens.csv is shorter than it was" truncate -s -1 "$whole/tokens.csv"
lost "latents.csv is missing" rm "$whole/latents.csv"
lost "metrics.jsonl is shorter than result.json says: its last step is 1 of 10" as_before sed -i '$d' "$whole/metrics.jsonl"
lost "$weights is shorter than its header says" as_before truncate -s -1 "$whole/$weights"
as_before expect 0 status grid.yaml --out fresh

# ---- a shard tells of its own cells alone
expect 0 run grid.yaml --out sharded --quiet --shard 1/2
[ "$(grep -c ' completed ' out)" -eq 2 ] || fail "half of the cells should be told of"
grep -q pending out && fail "another shard's cells are listed"
said out "2 more cells belong to other shards"
