# A small grid is killed with SIGKILL at random moments, started again each time, at least QUASAR_KILLS times (50; make soak: 1,000) and
# until it completes, as often as that takes; whenever it completes, its bytes must be those of an undisturbed grid. QUASAR_SEED decides
# the moments.
. "${0%/*}/lib.sh"
cd "$work"
kills=${QUASAR_KILLS:-50}
seed=${QUASAR_SEED:-1}
cat >grid.yaml <<'YAML'
name: grid
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 48 }
activation: { plugin: topk, k: 3 }
losses: { mse: {}, auxk: { coeff: 1/32, dead_after: 2000 } }
train: { tokens: 38400, batch: 128, log_every: 7, checkpoint_every: 9 }
eval: { tokens: 200 }
grid:
  - { activation.plugin: [topk, batchtopk], activation.k: 3 }
  - { activation.plugin: jumprelu, losses.l0.coeff: 1e-3 }
seeds: [1, 2]
YAML
now() { date +%s.%N; }

began=$(now)
expect 0 run grid.yaml --out reference --quiet
awk -v seed="$seed" -v n=$((kills * 20)) -v whole="$(echo "$(now) $began" | awk '{ print $1 - $2 }')" 'BEGIN {
    srand(seed)
    for (i = 0; i < n; i++) printf "%.4f %.4f\n", rand(), whole
}' >moments

# The longest delay grows while an attempt does not complete, so that every attempt does in the end.
killed=0
completed=0
tries=0
reach=0.4
while read -r moment whole; do
    delay=$(awk -v m="$moment" -v w="$whole" -v r=$reach 'BEGIN { printf "%.4f", 0.01 + m * w * r }')
    code=0
    (timeout -s KILL "$delay" "$quasar" run grid.yaml --out killed --quiet >out 2>err) 2>/dev/null || code=$?
    tries=$((tries + 1))
    case $code in
    137)
        killed=$((killed + 1))
        reach=$(awk -v r=$reach 'BEGIN { printf "%.4f", r * 1.05 }')
        ;;
    0)
        completed=$((completed + 1))
        same_bytes reference killed
        expect 0 status grid.yaml --out killed
        rm -rf killed
        reach=0.4
        [ $killed -lt "$kills" ] || break
        ;;
    *)
        cat out err >&2
        fail "after $killed kills (seed $seed): exit code $code"
        ;;
    esac
done <moments
[ $killed -ge "$kills" ] && [ $completed -ge 1 ] || fail "$killed kills and $completed completions in $tries tries"
echo "killed $killed times, completed $completed times with equal bytes"
