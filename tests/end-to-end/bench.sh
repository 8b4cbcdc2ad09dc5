# quasar bench: the table and the JSON have all they promise (times are no matter for a test), a refused spec is refused as by a run.
. "${0%/*}/lib.sh"
cd "$work"
cat >small.yaml <<'END'
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: batchtopk, k: 3 }
losses: { mse: {}, auxk: { dead_after: 256 } }
train: { tokens: 100_000, batch: 128 }
END
expect 0 bench small.yaml --repeats 3 --threads 2
for word in normalise encode select decode loss "code gradient" "weight gradients" optimiser other step T data "over T"; do said out "$word"; done
said out "step = "
said out "medians of 3"
expect 0 bench small.yaml --repeats 3 --json
for key in T_ms step_ms step_over_T tokens_per_second peak_bytes threads isa blas phases; do said out "\"$key\":"; done
names=$(grep -o '"name": *"[^"]*"' out | sed 's/.*: *//' | tr -d '"' | paste -sd,)
[ "$names" = "data,normalise,encode,select,decode,loss,code gradient,weight gradients,optimiser,other" ] || fail "phases of --json: $names"
for key in ms over_T gflops gbps; do [ "$(grep -o "\"$key\":" out | wc -l)" = 10 ] || fail "$key should be in every phase"; done
expect 0 bench small.yaml --repeats 2 --threads 2 --scaling
said out "of multiply-adds"
expect 0 bench --table --repeats 1 dataset.d_in=16 dataset.features=32 dataset.l0=3 sae.d_sae=64 train.batch=64 dataset.buffer=64
for case in "topk, half dead" "batchtopk" "topafa" "relu + l1" "jumprelu" "twice the batch" "twice the latents" "evaluation" "coherence"; do
    said out "$case"
done
expect 2 bench small.yaml --table
said err "has its own specs"
expect 2 bench small.yaml --dead 1.5
expect 2 bench small.yaml --dead nan
said err "not a share between 0 and 1"
[ "$(ls)" = "$(printf 'err\nout\nsmall.yaml')" ] || fail "bench left something behind: $(ls)"
expect 2 bench small.yaml activation.k=49
said err "activation.k: k=49 exceeds d_sae=48"
expect 2 bench small.yaml small.yaml
said err "takes one spec at most"
