# `quasar submit` without Slurm: what it writes, what it asks of sbatch (a stand-in here), and that the tasks it writes do the work, also
# with names that a shell would take apart. (tests/slurm/check.sh has the real one.)
. "${0%/*}/lib.sh"
cd "$work"
mkdir bin "it's here"
cat >"it's here/a grid.yaml" <<'YAML'
name: grid
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 3 }
train: { tokens: 1280, batch: 128 }
eval: { tokens: 100 }
grid: [{ activation.k: [2, 4], dataset.seed: [0, 1] }]
YAML
cat >bin/sbatch <<'END'
#!/bin/sh
for word in "$@"; do printf '[%s]' "$word"; done >>"$WORDS"
echo >>"$WORDS"
n=$(wc -l <"$WORDS")
[ "$n" -lt "${REFUSE:-99}" ] || { echo "sbatch: error: no such partition" >&2; exit 1; }
echo "$((40 + n));cluster"
END
chmod +x bin/sbatch
WORDS=$work/words
export WORDS
spec="it's here/a grid.yaml"

expect 2 submit "$spec"
said err "needs --slurm"
expect 2 submit "$spec" --slurm --shards 5
said err "--shards is '5', but must be a whole number from 1 to 4"
expect 2 submit "$spec" --slurm --shards 2 train.btach=3
said err "did you mean 'batch'"
PATH_BEFORE=$PATH
PATH=/nowhere
code=0
"$quasar" submit "$spec" --slurm --out none >out 2>err || code=$?
PATH=$PATH_BEFORE
[ $code -eq 2 ] || fail "without sbatch: exit code $code"
said err "there is no sbatch here"

# A task for each stream, unless told otherwise.
expect 0 submit "$spec" --slurm --out "my runs" --dry-run
said out "#SBATCH --array=1-2"
expect 0 submit "$spec" --slurm --shards 3 --out "my runs" --dry-run seed=4 -- --partition=long -t 5
said out "# quasar submit: 4 cells in 3 tasks"
said out "#SBATCH --partition=long -t 5"
said out " seed=4 --out '$PWD/my runs' --quiet --shard \"\$SLURM_ARRAY_TASK_ID/3\""
said out "exec $quasar index '$PWD/my runs'"
[ ! -e "my runs" ] && [ ! -e words ] || fail "a dry run did something"

PATH=$PWD/bin:$PATH
expect 0 submit "$spec" --slurm --shards 3 --out "my runs"
said out "job 41: 4 cells in 3 tasks; job 42 indexes $PWD/my runs afterwards"
cat >wanted <<END
[--parsable][$PWD/my runs/slurm/grid.sh]
[--parsable][--dependency=afterany:41][$PWD/my runs/slurm/grid-index.sh]
END
diff wanted words >&2 || fail "sbatch was called otherwise"

# The tasks, in any order; a processor count and a memory limit as Slurm would give them.
for task in 2 3 1; do
    SLURM_ARRAY_TASK_ID=$task SLURM_CPUS_PER_TASK=1 SLURM_MEM_PER_NODE=1000 "my runs/slurm/grid.sh" >out 2>err || fail "task $task: $(cat err)"
done
"my runs/slurm/grid-index.sh" >out 2>err || fail "the index: $(cat err)"
said out "4 runs, 4 completed"
expect 0 run "$spec" --out local --quiet
same_bytes local "my runs"

REFUSE=3
export REFUSE
expect 1 submit "$spec" --slurm --out "my runs"
said err "no such partition"
said err "sbatch refused $PWD/my runs/slurm/grid.sh"
