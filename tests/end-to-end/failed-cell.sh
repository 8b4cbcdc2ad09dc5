# Data that turns bad after the first step, and numbers that overflow: the cells at fault are marked with their reason, the others
# finish, and the exit code is 1. (tests/fixtures/datasets/counted.c makes the rows.)
. "${0%/*}/lib.sh"
cd "$work"
plugins=$build_folder/tests/fixtures
cat >fine.yaml <<'YAML'
name: fine
dataset: { plugin: counted, d_in: 6, index: false, units: 300, shuffle: false, bad: huge, bad_row: 36, bad_column: 2 }
sae: { d_sae: 15, b_dec_init: zero }
activation: { plugin: topk, k: 3 }
train: { tokens: 100, batch: 10, log_every: 1 }
eval: { tokens: 40 }
YAML
sed 's/^name: fine/name: overflows/; s/b_dec_init: zero/b_dec_init: zero, normalize: none/' fine.yaml >overflows.yaml
sed 's/^name: fine/name: nan/; s/bad: huge/bad: nan/' fine.yaml >nan.yaml

expect 1 run overflows.yaml fine.yaml nan.yaml --out runs --plugin-dir "$plugins" --quiet
said out "step 3: the loss is"
said out "row 36 of counted has nan in column 2: data must be finite"
grep -q '"status": "completed"' runs/fine/*/result.json || fail "the cell without a mistake did not finish"
for name in overflows nan; do
    grep -q '"status": "failed"' runs/$name/*/result.json || fail "$name is not marked as failed"
    [ "$(wc -l <"$(echo runs/$name/*/metrics.jsonl)")" -eq 3 ] || fail "$name should have logged three steps"
    [ -z "$(find runs/$name -name 'sae*' -o -name tokens.csv -o -name latents.csv -o -name top_contexts.jsonl)" ] || fail "$name left more than it made"
done
grep -q '"reason": "row 36 of counted has nan in column 2: data must be finite"' runs/nan/*/result.json || fail "no reason"

# The finished cell is what it is alone.
expect 0 run fine.yaml --out alone --plugin-dir "$plugins" --quiet
for file in metrics.jsonl result.json tokens.csv latents.csv top_contexts.jsonl sae/cfg.json sae/sae_weights.safetensors; do
    cmp runs/fine/*/$file alone/fine/*/$file || fail "$file depends on cells that fail"
done

# Failures are shown again, and tried again when asked for.
expect 1 run fine.yaml nan.yaml --out runs --plugin-dir "$plugins" --quiet
said out "already complete"
expect 1 run nan.yaml --rerun failed --out runs --plugin-dir "$plugins" --quiet
said out "row 36 of counted has nan"

# Before the first step it is bad input, and nothing is created.
expect 2 run nan.yaml dataset.bad_row=3 --out none --plugin-dir "$plugins" --quiet
said err "row 3 of counted has nan in column 2: data must be finite"
[ ! -e none ] || fail "bad input created something"
