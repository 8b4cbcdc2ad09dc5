# Reading ahead shows in no byte: on and off, one thread and two, interrupted and killed while reads are under way. The first Ctrl-C is heard
# while a run waits for a cache that somebody is writing. (tests/fixtures/datasets/counted.c makes the rows, and waits.)
. "${0%/*}/lib.sh"
cd "$work"
plugins="--plugin-dir $build_folder/tests/fixtures"
cat >rows.yaml <<'YAML'
name: grid
dataset: { plugin: counted, d_in: 16, units: 600, rows_per_unit: 9, skip_first: 1, units_per_read: 4, index: false, buffer: 900 }
sae: { d_sae: 64 }
activation: { plugin: topk, k: 3 }
train: { tokens: 19200, batch: 64, log_every: 3, checkpoint_every: 10 }
eval: { tokens: 300 }
grid: [{ activation.k: [2, 4], train.batch: [64, 96] }]
YAML
cat >model.yaml <<YAML
name: grid
dataset:
  { plugin: gpt2, model: $source_folder/experiments/data/tiny-gpt2, tokens: $source_folder/experiments/data/tiny-gpt2/tokens.npy,
    hook: { layer: 1 }, context: 32, skip_first: 1, buffer: 1500 }
sae: { d_sae: 64 }
activation: { plugin: topk, k: 3 }
train: { tokens: 9600, batch: 96, log_every: 3 }
eval: { tokens: 300, ce_tokens: 0 }
grid: [{ dataset.hook.layer: [0, 2], activation.k: [2, 4] }]
YAML
for spec in rows model; do
    expect 0 run $spec.yaml --out $spec-turns --quiet --threads 2 --read-ahead no $plugins
    for threads in 1 2; do
        expect 0 run $spec.yaml --out $spec-$threads --quiet --threads $threads $plugins
        same_bytes $spec-turns $spec-$threads
    done
done
# What training waited, what reading took on all threads, and as many reads as in turn.
reads() { tail -qn 1 "$1"/grid/*/timing.jsonl | sed 's/.*"data_reads":\([0-9]*\).*/\1/' | sort -n | tail -n 1; }
grep -q '"data_seconds":[0-9.e-]*,"read_seconds":[0-9.e-]*,"data_reads":' rows-2/grid/*/timing.jsonl || fail "no seconds for data in timing.jsonl"
[ "$(reads rows-2)" -eq "$(reads rows-turns)" ] || fail "$(reads rows-2) reads, in turn $(reads rows-turns)"
expect 2 run rows.yaml --read-ahead maybe $plugins
said err "--read-ahead takes yes or no, not 'maybe'"

# Slow reads: interrupted and killed until it completes, always with a read under way.
moments=0 hits=0
for signal in INT KILL INT KILL INT KILL INT; do
    "$quasar" run rows.yaml dataset.pause=4 --out broken --quiet --threads 2 $plugins >/dev/null 2>&1 &
    pid=$!
    sleep 0.2$((moments % 4))
    kill -$signal $pid 2>/dev/null || true
    code=0
    wait $pid || code=$?
    case $signal-$code in INT-130 | KILL-137) hits=$((hits + 1)) ;; *-0) ;; *) fail "after $signal the run ended with $code" ;; esac
    moments=$((moments + 1))
done
[ $hits -gt 0 ] || fail "no signal met a run under way"
expect 0 run rows.yaml --out broken --quiet $plugins
same_bytes rows-turns broken

# A cache that grows, by a writer that is held up while there is somebody who waits for it: they hear the first Ctrl-C.
cat >live.yaml <<'YAML'
name: grid
dataset: { plugin: counted, d_in: 16, units: 2000, units_per_read: 50, index: false, pause: 100 }
sae: { d_sae: 32 }
activation: { plugin: topk, k: 3 }
train: { tokens: 1800, batch: 60 }
eval: { tokens: 100 }
YAML
sed -e 's/^dataset: .*/dataset: { plugin: activations, cache: acts, buffer: 300 }/' live.yaml >stored.yaml
"$quasar" cache live.yaml --out acts --shard-size 4KiB --threads 1 --quiet $plugins >cache.out 2>&1 &
writer=$!
trap 'kill -KILL $writer 2>/dev/null || true; rm -rf "$work"' EXIT
tries=0
until [ -f acts/shard-000002.safetensors ] || [ $tries -eq 3000 ]; do sleep 0.02 && tries=$((tries + 1)); done
kill -STOP $writer 2>/dev/null || fail "the cache was complete before anybody waited for it: $(cat cache.out)"
for ahead in yes no; do
    rm -f out.1
    QUASAR_LOG=info "$quasar" run stored.yaml --out waiting --quiet --read-ahead $ahead >out.1 2>&1 &
    pid=$!
    tries=0
    until grep -qs "waiting for shard" out.1 || [ $tries -eq 3000 ]; do sleep 0.02 && tries=$((tries + 1)); done
    kill -INT $pid 2>/dev/null || fail "the run did not wait for the cache: $(cat out.1)"
    code=0
    wait $pid || code=$?
    [ $code -eq 130 ] || fail "a run that waits for a cache ended with $code: $(cat out.1)"
done
kill -CONT $writer
wait $writer || fail "the cache was not written: $(cat cache.out)"
trap 'rm -rf "$work"' EXIT
expect 0 run stored.yaml --out waiting --quiet
expect 0 run stored.yaml --out calm --quiet
same_bytes calm waiting
