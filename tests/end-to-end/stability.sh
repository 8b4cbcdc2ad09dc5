# `quasar stability`: the decoders of a cell's seeds matched pair by pair, kept in the runs, never computed twice, shown in tables.
. "${0%/*}/lib.sh"
cd "$work"
cat >small.yaml <<'END'
name: small
dataset: { plugin: synthetic, d_in: 16, features: 24, l0: 3 }
sae: { d_sae: 40 }
activation: { plugin: topk, k: 3 }
train: { tokens: 4000, batch: 128 }
eval: { tokens: 300 }
END
expect 0 run small.yaml activation.k=2,3 seed=1,2,3 --out runs --quiet
expect 0 run small.yaml sae.d_sae=30 --out runs --quiet # alone: no pair

# Six pairs, as told; the same numbers as two runs compared by hand; nothing beside stability.json is new.
before=$(find runs -type f | sort | grep -v stability | xargs cksum)
expect 0 stability runs --rows activation.k,sae.d_sae --format csv
[ "$(grep -c 'mcc 0\.[0-9]*, [0-9.]* s$' err)" -eq 6 ] || fail "six pairs should be told of"
[ "$(find runs -name stability.json | wc -l)" -eq 6 ] || fail "each run with another seed should keep its numbers"
[ "$(find runs -type f | sort | grep -v stability | xargs cksum)" = "$before" ] || fail "other files changed"
cp out first
number() { sed -n "s/^ *\"$2\": \([-0-9.e]*\),*\$/\1/p" "$1" | sed -n "${3:-1}p"; } # FILE KEY [WHICH]
set -- runs/small/topk-k2-*
expect 0 stability "$1" "$2"
said out "40 latents and 40 latents of width 16"
by_hand=$(sed -n 's/^  mcc *//p' out)
kept=$(number "$1/stability.json" mcc 2)
awk -v a="$by_hand" -v b="$kept" 'BEGIN { exit !(a > 0.2 && a < 1 && (a - b) ^ 2 < 1e-12) }' || fail "mcc is $by_hand by hand, and $kept"
there=$(number "$1/stability.json" max_cosine 2) back=$(number "$2/stability.json" max_cosine 2)
awk -v a="$there" -v b="$(sed -n 's/^  max cosine, first in second *//p' out)" 'BEGIN { exit !((a - b) ^ 2 < 1e-12) }' || fail "max_cosine of the first"
awk -v a="$back" -v b="$(sed -n 's/^  max cosine, second in first *//p' out)" 'BEGIN { exit !((a - b) ^ 2 < 1e-12) }' || fail "max_cosine of the second"

# The mean over pairs with its jackknife interval: a pair lacking one run after the other, in closed form for three.
for i in 1 2 3; do eval "run=\$$i"; number "$run/stability.json" mcc 1; done |
    awk '{ v[NR] = $1; s += $1 } END { m = s / 3; for (i in v) q += (v[i] - m) ^ 2
           printf "%.9e %.9e\n", m, 0.95 / sqrt(0.04875) * sqrt(4 * 2 / 3 * q) }' >wanted
awk -F, '$1 == 2 { printf "%.9e %.9e\n", $4, $5 }' first | cmp - wanted || fail "mean and interval of three seeds"

# Known is known, also to tables, with any number of threads.
sums=$(find runs -name stability.json | sort | xargs cksum)
expect 0 stability runs --rows activation.k,sae.d_sae --format csv --threads 2
[ "$(grep -c '(known)$' err)" -eq 6 ] || fail "nothing should be computed twice"
cmp out first || fail "the table should be the same"
expect 0 table runs --cols stability.mcc --where activation.k=2 --where sae.d_sae=40
said out "stability.mcc"
# A run that is another one under another cell's name is no further seed.
cp -R "$1" runs/small/twin
sed "s/$(basename "$1")/twin/" "$1/manifest.json" >runs/small/twin/manifest.json
sed "s/$(basename "$1")/twin/" "$1/result.json" >runs/small/twin/result.json
expect 0 stability runs --rows activation.k,sae.d_sae --format csv
said err "all parameters, seeds too, are those of another run, which counts once: 1, small/twin"
cmp out first || fail "the twin should not count"
rm -r runs/small/twin

find runs -name stability.json -exec rm {} +
expect 0 stability runs --threads 1 --quiet
[ ! -s err ] || fail "--quiet should tell of nothing"
[ "$(find runs -name stability.json | sort | xargs cksum)" = "$sums" ] || fail "the bytes depend on threads"

# Damage is made good, and a run that is gone is forgotten; training again forgets too.
echo '{' >"$1/stability.json"
expect 0 stability runs
said err "stability\` makes it anew"
[ "$(grep -c '(known)$' err)" -eq 4 ] || fail "two pairs lacked one half"
[ "$(find runs -name stability.json | sort | xargs cksum)" = "$sums" ] || fail "the damage was not made good"
mv "$3" gone
expect 0 stability runs
[ "$(grep -c '(known)$' err)" -eq 4 ] || fail "four pairs are left"
grep -q "$(basename "$3")" "$1/stability.json" && fail "a run that is gone should be forgotten"
mv gone "$3"
expect 0 run small.yaml activation.k=2 seed=1,2,3 --out runs --rerun all --quiet
[ "$(find runs -name stability.json | wc -l)" -eq 3 ] || fail "runs that were trained again should have no old numbers"

# Of different widths of code; of nothing; of too much; of garbage.
set -- runs/small/topk-k3-30-* runs/small/topk-k3-40-*
expect 0 stability "$1" "$2"
said out "30 latents and 40 latents of width 16"
expect 2 stability "$1"
said err "no two completed runs"
expect 2 stability nowhere
expect 2 stability
expect 2 stability runs runs runs
expect 2 stability runs --memory little
for words in "--where seed=1" "--rows k" "--format json"; do
    expect 2 stability "$1" "$2" $words
    said err "${words%% *} goes with a folder of runs: two runs are matched as they are"
done
expect 2 stability "$2" "$work"
said err "holds no sae/sae_weights.safetensors"
find runs -name stability.json -exec rm {} +
expect 1 stability runs --memory 1KiB
said err "matching 40 latents with 40 takes 6.2 KiB of cosines, but 1.0 KiB may be used"
printf 'garbage' >"$2/sae/sae_weights.safetensors"
expect 1 stability runs
said err "$(basename "$2") is left out: "
[ "$(grep -c ': mcc' err)" -eq 4 ] || fail "the other pairs should be matched all the same"
for folder in runs/small/*; do printf 'garbage' >"$folder/sae/sae_weights.safetensors"; done
expect 2 stability runs
said err "no two runs in runs whose decoders can be read differ in nothing but the seed"
