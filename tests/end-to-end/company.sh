# Cells in company: one that fails, one whose numbers overflow, one whose folder is deleted, two processes on one folder. Each case must
# leave the bytes of all others as they are alone. (tests/fixtures/losses/breaks.c fails at step 37.)
. "${0%/*}/lib.sh"
cd "$work"
plugins="--plugin-dir $build_folder/tests/fixtures"
cat >base.yaml <<'YAML'
name: grid
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 3 }
train: { tokens: 12800, batch: 128, log_every: 7, checkpoint_every: 20 }
eval: { tokens: 200 }
YAML
cat >fine.yaml <<'YAML'
extends: base.yaml
grid: [{ activation.k: [2, 4], seed: [1, 2] }, { activation.plugin: relu, train.batch: 100, seed: 1 }]
YAML
cat >mixed.yaml <<'YAML'
extends: base.yaml
grid:
  - { activation.k: [2, 4], seed: [1, 2] }
  - { activation.plugin: relu, train.batch: 100, seed: 1 }
  - { activation.k: 3, losses.breaks.step: 37 }
  - { activation.k: 3, losses.breaks.nan: true }
YAML

# Alone: each cell in a process of its own. In company: all of one stream in lockstep. Nobody can tell from the bytes.
for words in "activation.k=2 seed=1" "activation.k=2 seed=2" "activation.k=4 seed=1" "activation.k=4 seed=2" \
    'activation={"plugin":relu} train.batch=100 seed=1'; do
    # shellcheck disable=SC2086 # a list of words
    expect 0 run base.yaml $words --out alone --quiet
done
expect 0 run fine.yaml --out together --quiet
same_bytes alone together
reads() { tail -qn 1 "$1"/grid/*/timing.jsonl | sed 's/.*"data_reads":\([0-9]*\).*/\1/'; }
alone=$(reads alone | awk '{ n += $1 } END { print n }')
together=$(reads together | sort -n | tail -n 1)
[ "$together" -lt $((alone / 3)) ] || fail "five cells on one stream read it $together times, alone $alone in all"

# A small memory limit cuts the group, and changes nothing else.
expect 0 run fine.yaml --out tight --quiet --memory 1KiB --threads 2
said err "more than the limit"
same_bytes alone tight
# Neither does cutting it into shards, the last of which may run first.
for shard in 3 1 2; do expect 0 run fine.yaml --out sharded --quiet --shard $shard/3; done
same_bytes alone sharded

# The plugin that fails and the loss that is not finite: two cells failed, with their reasons; the others as if nothing were.
expect 1 run mixed.yaml --out mixed --quiet $plugins
said out "failed"
said err "step 37 is where it breaks"
said err "step 37: the loss is nan"
[ "$(grep -l '"status": "failed"' mixed/grid/*/result.json | wc -l)" -eq 2 ] || fail "two cells should have failed"
expect 1 status mixed.yaml --out mixed $plugins
said out "5 done, 2 failed"
grep -l '"status": "failed"' mixed/grid/*/result.json >failures
cp -R mixed others
while read -r result; do
    tail -n 1 "$(dirname "$result")/metrics.jsonl" | grep -q . || fail "a failed cell logged nothing before it failed"
    rm -r "others/grid/$(basename "$(dirname "$result")")"
done <failures
same_bytes alone others
# With --keep-going=no the first failure ends the run; the others are interrupted and go on afterwards.
expect 1 run mixed.yaml --out stopped --quiet --keep-going=no $plugins
said out "interrupted"
expect 1 run mixed.yaml --out stopped --quiet $plugins
rm -r "stopped/grid/$(basename "$(dirname "$(head -n 1 failures)")")" "stopped/grid/$(basename "$(dirname "$(tail -n 1 failures)")")"
same_bytes alone stopped

# ---- while it runs

# start OUT WORDS...: a run in the background, held by SIGSTOP once every cell of it logs.
start() {
    folder=$1
    shift
    "$quasar" run "$@" --out "$folder" --quiet >out.1 2>err.1 &
    pid=$!
    tries=0
    until [ "$(find "$folder" -name metrics.jsonl -size +0c 2>/dev/null | wc -l)" -ge 2 ] || [ $tries -eq 600 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    kill -STOP $pid 2>/dev/null && [ "$(find "$folder" -name result.json | wc -l)" -eq 0 ] || fail "could not catch the run at work"
}
finish() {
    kill -CONT $pid
    code=0
    wait $pid || code=$?
}
cat >long.yaml <<'YAML'
extends: base.yaml
train: { tokens: 512_000, checkpoint_every: 300 }
seeds: [1, 2]
YAML
expect 0 run long.yaml --out calm --quiet

# Two runners: the second finds both cells taken, says so, and disturbs nothing. Status sees them at work.
start both long.yaml
expect 1 run long.yaml --out both --quiet
said out "busy"
expect 1 status long.yaml --out both
said out "2 cells: 2 running"
expect 0 run long.yaml --out both --dry-run
said out "busy"
expect 0 gc both --yes
finish
[ $code -eq 0 ] || fail "the first runner ended with $code"
same_bytes calm both

# A folder deleted meanwhile: that cell fails and says why, and nothing is made in its place; the other goes on.
start deleted long.yaml
gone=$(ls deleted/grid | head -n 1)
rm -rf "deleted/grid/$gone"
finish
[ $code -eq 1 ] || fail "with a folder deleted, the run ended with $code"
grep -qF "its folder deleted/grid/$gone was deleted or replaced" err.1 || fail "no reason: $(cat err.1)"
[ ! -e "deleted/grid/$gone" ] || fail "the deleted folder is back"
expect 0 run long.yaml --out deleted --quiet
same_bytes calm deleted

# The same with another folder in its place, which stays as it is.
start replaced long.yaml
rm -rf "replaced/grid/$gone"
mkdir "replaced/grid/$gone"
finish
[ $code -eq 1 ] || fail "with a folder replaced, the run ended with $code"
[ -z "$(ls -A "replaced/grid/$gone")" ] || fail "something was written to a folder that is not its own"
expect 0 run long.yaml --out replaced --quiet
same_bytes calm replaced
