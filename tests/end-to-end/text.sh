# Texts as input: `quasar tokenize`, and a dataset that reads texts, which is the dataset of their tokens, resumed and judged like any other.
. "${0%/*}/lib.sh"
model=$source_folder/experiments/data/tiny-gpt2
cd "$work"
mkdir texts
i=0
while [ $i -lt 400 ]; do
    echo "In the beginning God created the heaven and the earth, for the ${i}th time; and don't you forget <|endoftext|>."
    i=$((i + 1))
done >texts/a.txt
printf '{"text": "Let there be light"}\n\n{"text": "", "id": 7}\n{"text": "caf\\u00e9 \\u0000 \\ud83d\\ude00"}' >texts/b.jsonl
printf 'stray \377\300 bytes\r\n' >texts/c.txt

# ---- the command
expect 0 tokenize texts/a.txt 'texts/[b-z]*' --model "$model" -o all.npy --quiet
said out "all.npy: 5 documents, "
[ ! -s err ] || fail "--quiet is not quiet"
expect 0 tokenize texts/*.txt texts/b.jsonl --model "$model" --out other.bin
expect 0 tokenize texts/a.txt texts/b.jsonl texts/c.txt --model "$model" --out all.bin
cmp all.bin other.bin >/dev/null && fail "the order of texts makes no difference"
tail -c +129 all.npy | cmp - all.bin || fail ".npy and .bin hold other tokens"
if command -v gzip >/dev/null 2>&1; then
    gzip -c texts/a.txt >a.txt.gz
    gzip -c texts/b.jsonl >b.jsonl.gz
    expect 0 tokenize a.txt.gz b.jsonl.gz texts/c.txt --model "$model" -o packed.bin
    cmp packed.bin all.bin || fail "a compressed text has other tokens"
    head -c 100 a.txt.gz >cut.txt.gz
    expect 2 tokenize cut.txt.gz --model "$model" -o cut.bin
    exactly err <<'END'
quasar: cut.txt.gz: truncated: the gzip data ends too early
END
fi
expect 2 tokenize texts/a.txt --model "$model"
said err "quasar tokenize: needs --out FILE: .npy or .bin"
expect 2 tokenize --model "$model" -o x.npy
said err "quasar tokenize: needs texts"
expect 2 tokenize texts/a.txt -o x.npy
said err "quasar tokenize: needs --model DIR"
expect 2 tokenize texts/a.txt --model "$work" -o x.npy
said err "quasar: $work has no tokenizer: neither vocab.json with merges.txt nor tokenizer.json"
expect 2 tokenize texts/none.txt --model "$model" -o x.npy
said err "quasar: cannot read texts/none.txt: No such file or directory"
expect 2 tokenize 'texts/*.md' --model "$model" -o x.npy
said err "quasar: no file matches texts/*.md"
expect 2 tokenize texts/a.txt --model "$model" -o x.csv
said err "quasar: x.csv: tokens are written as .npy or as .bin (nanoGPT's uint16)"
# No document at all is a mistake; an empty .txt is a document.
printf '\n \n' >none.jsonl
expect 2 tokenize none.jsonl --model "$model" -o x.npy
exactly err <<'END'
quasar: none.jsonl: there is no document: a .jsonl has an object with a "text" in each line
END
if command -v gzip >/dev/null 2>&1; then
    gzip -c none.jsonl >none.jsonl.gz
    expect 2 tokenize none.jsonl.gz none.jsonl --model "$model" -o x.npy
    said err "quasar: none.jsonl.gz and the other texts: there is no document: "
fi
: >empty.txt
expect 0 tokenize empty.txt none.jsonl --model "$model" -o empty.npy
said out "empty.npy: 1 document, 1 token as uint16"
echo '{"text": 1}' >wrong.jsonl
expect 2 tokenize texts/a.txt wrong.jsonl --model "$model" -o x.npy
said err 'quasar: wrong.jsonl:1: "text" is not a string'
expect 2 tokenize texts/a.txt --model "$model" -o nowhere/x.npy
said err "quasar: cannot write nowhere/x.npy: No such file or directory"
[ -z "$(ls ./*.tmp-* x.npy cut.bin 2>/dev/null)" ] || fail "a failed encoding left a file behind"

# Asked to end in the middle, by a user or a batch system, it leaves nothing.
yes 'In the beginning God created the heaven and the earth.' | head -c 60000000 >big.txt
"$quasar" tokenize big.txt --model "$model" -o big.npy --quiet >out 2>err & encoder=$!
while ! ls big.npy.tmp-* >/dev/null 2>&1 && kill -0 $encoder 2>/dev/null; do sleep 0.01; done
kill -s TERM $encoder
code=0
wait $encoder || code=$?
[ $code -eq 130 ] || fail "SIGTERM: exit code $code: $(cat out err)"
said err "quasar: interrupted"
[ -z "$(ls big.npy* 2>/dev/null)" ] || fail "SIGTERM left $(ls big.npy*)"
rm big.txt

# ---- the dataset: the same bytes as from the tokens
cat >spec.yaml <<END
name: text
dataset: { plugin: gpt2, model: $model, text: [texts/a.txt, 'texts/[b-z]*'], hook: { layer: 1 }, context: 16, exclude: [eot] }
sae: { d_sae: 64 }
activation: { plugin: topk, k: 4 }
train: { tokens: 6_400, batch: 128, lr: 1e-3, checkpoint_every: 10 }
eval: { tokens: 512 }
END
sed "s|text: \[.*\*'\]|tokens: [all.bin]|" spec.yaml >tokens.yaml
grep -q 'tokens: \[all.bin\]' tokens.yaml || fail "the spec was not changed"
expect 0 run spec.yaml --quiet
expect 0 run tokens.yaml --quiet --out from-tokens
text=$(echo runs/text/*) tokens=$(echo from-tokens/text/*)
for file in metrics.jsonl tokens.csv sae/sae_weights.safetensors; do cmp "$text/$file" "$tokens/$file" || fail "texts and their tokens train otherwise"; done
[ "$(ls "$QUASAR_CACHE/tokens")" = "$(ls "$QUASAR_CACHE/tokens" | grep '^[0-9a-f]*\.npy$')" ] || fail "the cache holds more than tokens"
[ "$(ls "$QUASAR_CACHE/tokens" | wc -l)" -eq 1 ] || fail "the texts were encoded more than once"
cmp "$QUASAR_CACHE/tokens/"*.npy all.npy || fail "the cache has other tokens than quasar tokenize"
grep -q '"document":[1-9]' "$text/top_contexts.jsonl" || fail "no context of a later document"

# A second run takes what is there, changed or not; another one may be damaged; a text that changes makes runs stale.
expect 0 run spec.yaml
said out "already complete"
: >"$QUASAR_CACHE/tokens/$(ls "$QUASAR_CACHE/tokens")"
expect 0 run spec.yaml --rerun all --quiet --out again
same_bytes runs again
echo 'And there was light.' >>texts/c.txt
expect 1 status spec.yaml
said out "stale"
said out "texts/c.txt has changed"
expect 0 run spec.yaml --rerun stale --quiet
[ "$(ls "$QUASAR_CACHE/tokens" | wc -l)" -eq 2 ] || fail "a changed text was not encoded anew"
touch -d '40 days ago' "$QUASAR_CACHE/tokens/"*
echo 'The evening and the morning.' >>texts/c.txt
expect 0 run spec.yaml --rerun stale --quiet
[ "$(ls "$QUASAR_CACHE/tokens" | wc -l)" -eq 1 ] || fail "what nobody used was kept"

# Several at once; no cache at all; nothing to read, or too much.
rm -rf "$QUASAR_CACHE"
"$quasar" run spec.yaml --quiet --out one >/dev/null 2>one.err & first=$!
"$quasar" run spec.yaml --quiet --out two >/dev/null 2>two.err || fail "the second of two: $(cat two.err)"
wait $first || fail "the first of two: $(cat one.err)"
same_bytes one two
[ "$(ls "$QUASAR_CACHE/tokens" | wc -l)" -eq 1 ] || fail "two at once left more than one file"
mkdir tmp
TMPDIR=$work/tmp QUASAR_CACHE=/dev/null/x XDG_CACHE_HOME=/dev/null/y HOME=/dev/null/z "$quasar" run spec.yaml --quiet --out none >/dev/null 2>none.err ||
    fail "without a cache: $(cat none.err)"
grep -q "set QUASAR_CACHE" none.err || fail "nobody said that there is no cache"
same_bytes one none
[ -z "$(ls tmp)" ] || fail "left in TMPDIR: $(ls tmp)"
expect 2 run spec.yaml dataset.tokens=all.npy --out x
said err "dataset.text: tokens are given as well: give either tokens or text"
expect 2 run spec.yaml dataset.text=wrong.jsonl --out x
said err 'dataset.text: wrong.jsonl:1: "text" is not a string'
expect 2 run spec.yaml dataset.text=texts/b.jsonl dataset.context=128 --out x
said err "dataset.text: texts/b.jsonl: "
said err " tokens are fewer than one context of 128"
[ ! -e x ] || fail "a refused spec left a folder"
