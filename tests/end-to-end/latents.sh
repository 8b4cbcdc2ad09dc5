# latents.csv and top_contexts.jsonl of a real run with text, and `quasar latents`, which shows them; by hand where it matters.
. "${0%/*}/lib.sh"
cd "$work"
data=$source_folder/experiments/data/tiny-gpt2
cat >text.yaml <<END
name: text
dataset: { plugin: gpt2, model: $data, tokens: $data/tokens.npy, hook: { site: resid_post, layer: 1 }, context: 32, skip_first: 1 }
sae: { d_sae: 64 }
activation: { plugin: topk, k: 4 }
train: { tokens: 2000, batch: 100 }
eval: { tokens: 1200, top_contexts: 3, context_before: 4, context_after: 2 }
END
expect 0 run text.yaml --out one --threads 1 --quiet
expect 0 run text.yaml --out two --threads 2 --quiet
same_bytes one two
run=$(echo one/text/*)
[ "$(wc -l <"$run/latents.csv")" -eq 65 ] || fail "a header and a line per latent"
[ "$(wc -l <"$run/top_contexts.jsonl")" -eq 64 ] || fail "a line per latent"
grep -q '"row":[0-9]*,"activation":[0-9.]*,"token":[0-9]*,"before":".*","text":".*","after":".*","document":[0-9]*}' "$run/top_contexts.jsonl" ||
    fail "the contexts have no text"

# Options: outside of the identity, so nothing is trained again; no files where none are wanted.
expect 0 run text.yaml eval.top_contexts=0 --out none --quiet
[ "$(ls none/text)" = "$(ls one/text)" ] || fail "eval.top_contexts should not change the id"
[ -f none/text/*/latents.csv ] && [ ! -e none/text/*/top_contexts.jsonl ] || fail "latents.csv and no contexts were asked for"
cmp none/text/*/latents.csv "$run/latents.csv" || fail "contexts should not change latents.csv"
expect 0 diff "$run" none/text/*
expect 0 eval "$run" --spec text.yaml eval.latents=false --out judged --quiet
mkdir again
: >again/latents.csv
expect 0 eval "$run" --spec text.yaml eval.top_contexts=2 --out again --quiet
said out "latents.csv, top_contexts.jsonl"
cmp again/latents.csv "$run/latents.csv" || fail "eval and run disagree"
expect 0 eval "$run" --spec text.yaml eval.latents=false --out again --quiet
[ ! -e again/latents.csv ] && [ ! -e again/top_contexts.jsonl ] || fail "files of an earlier evaluation should not stay"
[ ! -e judged/latents.csv ] && [ ! -e judged/top_contexts.jsonl ] || fail "neither file was asked for"

# The table: by frequency, by something else, of a real run.
expect 0 latents "$run" --top 5
said out "most active on"
said out "[["
[ "$(wc -l <out)" -eq 6 ] || fail "a header and five latents"
awk 'NR > 2 && $2 > last { exit 1 } { last = $2 }' out || fail "the most frequent should come first"
expect 0 latents "$run" --top 1 --by max
best=$(awk -F, 'NR > 1 && $4 + 0 > max { max = $4 + 0; best = $1 } END { print best }' "$run/latents.csv")
[ "$(sed -n '2s/^ *\([0-9]*\) .*/\1/p' out)" = "$best" ] || fail "latent $best has the largest activation"

# By hand: order with ties and silent ones, marks, escapes, what is missing.
mkdir hand
cat >hand/latents.csv <<'END'
latent,frequency,mean_activation,max_activation,decoder_norm,nearest_latent,nearest_cosine,encoder_decoder_cosine
0,0,,,1,2,0.25,0.5
1,0.5,1.5,3,1,2,-0.75,1
2,0.5,2,2,2,1,-0.75,0.875
END
cat >hand/top_contexts.jsonl <<'END'
{"latent":0,"contexts":[]}
{"latent":1,"contexts":[{"unit":7,"row":3,"activation":3.0,"token":5,"before":"a\nb\u001b[31m ","text":" \u00e9","after":"\u202e!","document":0},{"unit":2,"row":0,"activation":1,"token":9}]}
{"latent":2,"contexts":[{"unit":1,"row":1,"activation":2}]}
END
expect 0 latents hand
exactly out <<'END'
latent  frequency  mean  max  norm  nearest  cosine  enc.dec  most active on
     1        0.5   1.5    3     1        2   -0.75        1  a\nb\x1b[31m [[ é]]\x202e!
     2        0.5     2    2     2        1   -0.75    0.875
     0          0     -    -     1        2    0.25      0.5
END
expect 0 latents hand --latent 1 --contexts 9 --latent 0
exactly out <<'END'
latent 1
  frequency               0.5
  mean_activation         1.5
  max_activation          3
  decoder_norm            1
  nearest_latent          2
  nearest_cosine          -0.75
  encoder_decoder_cosine  1
  3  7:3  a\nb\x1b[31m [[ é]]\x202e!
  1  2:0  token 9
latent 0
  frequency               0
  mean_activation         -
  max_activation          -
  decoder_norm            1
  nearest_latent          2
  nearest_cosine          0.25
  encoder_decoder_cosine  0.5
END
expect 2 latents hand --latent 3
said err "--latent is '3', but hand has latents 0 to 2"
expect 2 latents hand --by beauty
said err "--by is 'beauty', but must be frequency"
rm hand/top_contexts.jsonl
expect 0 latents hand --by decoder_norm --top 1
exactly out <<'END'
latent  frequency  mean  max  norm  nearest  cosine  enc.dec  most active on
     2        0.5     2    2     2        1   -0.75    0.875
END

mkdir nearest
cat >nearest/latents.csv <<'END'
latent,frequency,nearest_latent,nearest_cosine
0,0.5,1,-0.5
1,0.5,0,0.5
END
expect 0 latents nearest --by nearest --top 1
said out "     1        0.5     -    -     -        0     0.5        -" # by the cosine, not by the number of the other

# Broken files are named with their line.
echo '{"latent":5,"contexts":[]}' >hand/top_contexts.jsonl
expect 2 latents hand
said err "hand/top_contexts.jsonl:1: must be the contexts of latent 0: latents are in order"
echo '{"latent":0,' >hand/top_contexts.jsonl
expect 2 latents hand --latent 0
said err "hand/top_contexts.jsonl:1: line:"
sed -i '3s/0.5/lots/' hand/latents.csv
expect 2 latents hand
said err "hand/latents.csv:3: frequency is 'lots', but must be a number or empty"
sed -i '2d' hand/latents.csv
expect 2 latents hand
said err "hand/latents.csv:2: latent is '1', but must be 0: latents are in order"
echo 'latent,frequency' >hand/latents.csv
expect 2 latents hand
said err "hand/latents.csv has no latents"
echo 'some,thing' >hand/latents.csv
expect 2 latents hand
said err "there must be columns latent and frequency"
expect 2 latents judged
said err "there is no judged/latents.csv"
expect 2 latents
