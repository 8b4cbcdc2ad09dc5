#!/bin/sh
# `make check-slurm`: a whole Slurm on this machine, as root and without systemd, only for this test: munged, slurmctld and slurmd with
# everything under a temporary folder, all of them on 127.0.0.1. A grid of six cells goes through `quasar submit`, one of its jobs is
# killed, the same command is given again, and the bytes are compared with a run without Slurm. Prints "not tested" and why where Slurm
# is not installed or we are not root; run by `make check-slurm`, never by `make check`.
. "${0%/*}/../end-to-end/lib.sh"

not_tested() {
    echo "check-slurm: not tested: $*"
    exit 0
}
PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd sbatch squeue scancel scontrol sinfo; do
    command -v $program >/dev/null 2>&1 || not_tested "$program is not installed (Debian: slurm-wlm munge)"
done
[ "$(id -u)" -eq 0 ] || not_tested "starting Slurm needs root"

# Ports that the system gave to nobody: three of the dynamic range, by the process id.
port=$((20000 + $$ % 20000))
cd "$work"
chmod 755 "$work"
mkdir -m 700 munge
mkdir state spool
dd if=/dev/urandom of=munge/key bs=128 count=1 2>/dev/null
chmod 400 munge/key
host=$(hostname -s)
cat >slurm.conf <<END
ClusterName=quasar
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
# Nobody outside this machine is listened to.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2,sched_min_interval=100000
MinJobAge=60
KillWait=2
NodeName=$host NodeAddr=127.0.0.1 NodeHostname=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=quasar Nodes=$host Default=YES MaxTime=10:00 State=UP OverSubscribe=FORCE:4
END
SLURM_CONF=$work/slurm.conf
export SLURM_CONF

# Everything is stopped at the end, whatever happens, each process by its id.
daemons=
stop_all() {
    scancel --signal=KILL --full -u root 2>/dev/null || true
    for pid in $daemons; do kill "$pid" 2>/dev/null || true; done
    sleep 1
    for pid in $daemons; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap stop_all EXIT
trap 'exit 1' INT TERM

# wait_for SECONDS COMMAND...: tries once in a while.
wait_for() {
    limit=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt $limit ] || {
            tail -n 20 ./*.log >&2 2>/dev/null
            sinfo >&2 || true
            squeue >&2 || true
            fail "waited too long for: $*"
        }
        sleep 0.2
    done
}

munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
    --seed-file="$work/munge/seed" --log-file="$work/munged.log" >munged.out 2>&1 &
daemons="$daemons $!"
wait_for 20 test -S munge/socket
chmod 755 munge
slurmctld -D -f slurm.conf >slurmctld.out 2>&1 &
daemons="$daemons $!"
wait_for 30 scontrol ping
slurmd -D -f slurm.conf -N "$host" >slurmd.out 2>&1 &
daemons="$daemons $!"
is_idle() { sinfo -h -o %T | grep -q '^idle'; }
wait_for 60 is_idle

# Listening on the loopback alone.
if command -v ss >/dev/null 2>&1; then
    ss -Hltn "( sport = :$port or sport = :$((port + 1)) )" >listening
    [ "$(wc -l <listening)" -ge 2 ] || fail "Slurm is not listening where it should: $(cat listening)"
    awk '$4 !~ /^(127\.0\.0\.1|\[::1\]):/ { bad = 1 } END { exit bad }' listening || fail "Slurm listens beyond the loopback: $(cat listening)"
fi

cat >grid.yaml <<'YAML'
name: grid
dataset: { plugin: synthetic, d_in: 32, features: 64, l0: 4 }
sae: { d_sae: 128 }
activation: { plugin: topk, k: 4 }
train: { tokens: 512_000, batch: 128, log_every: 50, checkpoint_every: 100 }
eval: { tokens: 500 }
grid: [{ activation.k: [2, 4, 8] }]
seeds: [1, 2]
YAML
expect 0 run grid.yaml --out local --quiet
# A name with a blank and an option with a quote must arrive as they are.
out="on cluster"
submit() { expect 0 submit grid.yaml --slurm --shards 3 --out "$out" "$@" -- --no-requeue --cpus-per-task=1 --time=5 --comment="it's mine"; }
submit --dry-run
said out "#SBATCH --array=1-3"
[ ! -e "$out" ] || fail "a dry run created something"
submit
said out "6 cells in 3 tasks"
job=$(sed -n 's/^job \([0-9]*\): .*/\1/p' out)
[ -n "$job" ] || fail "no job: $(cat out)"
scontrol show job "$job" | grep -q "Comment=it's mine" || fail "sbatch's options do not arrive: $(scontrol show job "$job")"

# One task dies by SIGKILL at work.
has_checkpoint() { [ -n "$(find "$out/grid" -path '*/checkpoint/*.safetensors' 2>/dev/null)" ]; }
wait_for 60 has_checkpoint
running=$(squeue -h -t RUNNING -j "$job" -o %i | head -n 1)
[ -n "$running" ] || fail "no task was running that could be killed"
scancel --signal=KILL --full "$running"
all_over() { [ -z "$(squeue -h -t PENDING,RUNNING,COMPLETING,SUSPENDED)" ]; }
wait_for 120 all_over
expect 1 status grid.yaml --out "$out"
said out "interrupted"
[ -s "$out/index.sqlite" ] || fail "the job afterwards made no index: $(cat "$out"/slurm/*index*.log)"

# The same command again: what is done is skipped, what was killed goes on, and the index knows.
submit
wait_for 120 all_over
expect 0 status grid.yaml --out "$out"
said out "6 cells: 6 done"
same_bytes local "$out"
grep -q "already complete" "$out"/slurm/grid-*.log || fail "nothing was skipped the second time"
grep -q "6 runs, 6 completed" "$out"/slurm/grid-index-*.log || fail "the index: $(cat "$out"/slurm/grid-index-*.log)"
echo "check-slurm: 6 cells in 3 tasks, task $running killed and submitted again: equal bytes"
