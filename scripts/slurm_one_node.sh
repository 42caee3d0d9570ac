#!/usr/bin/env bash
# Runs Slurm on one machine's loopback, to try configs/slurm before using a cluster.
#
#   scripts/slurm_one_node.sh start DIR [NODES]   configures and starts the daemons; prints SLURM_CONF
#   scripts/slurm_one_node.sh status DIR          prints the state of the nodes
#   scripts/slurm_one_node.sh stop DIR            cancels the jobs, stops the daemons of `start`
#
# The machine pretends to be NODES nodes (default 1). Each has all of its CPUs, an equal part of its
# memory, and two GPUs in name only (enough for `--gpus-per-node`, not for CUDA).
# Needs the Debian packages slurm-wlm and munge, but no network; leaves the system's services alone.
# Writes only below DIR, which should be new. Jobs run as the user who started it.
set -euo pipefail

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -eq 2 ] || { [ $# -eq 3 ] && [ "$1" = start ]; } || usage
action=$1 n_node=${3:-1}
[[ $n_node =~ ^[1-8]$ ]] || {
    echo "error: NODES is $n_node, expected 1 to 8" >&2
    exit 2
}
mkdir -p "$2"
dir=$(cd "$2" && pwd)
export SLURM_CONF=$dir/slurm.conf
PATH=$PATH:/usr/sbin:/sbin

need() {
    command -v "$1" >/dev/null || {
        echo "error: $1 is not installed; run: apt install slurm-wlm munge" >&2
        exit 1
    }
}

# Finds free ports, starting at a number that depends on the folder.
free_ports() {
    python3 - "$dir" "$n_node" <<'PY'
import socket
import sys
import zlib

first = 20000 + zlib.crc32(sys.argv[1].encode()) % 20000
found = []
for port in range(first, first + 200):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    found.append(str(port))
    if len(found) == 1 + int(sys.argv[2]):
        print(*found)
        sys.exit()
sys.exit("error: no free port on the loopback")
PY
}

write_configuration() {
    local ports user cpus memory_mb k
    ports=$(free_ports)
    read -ra ports <<<"$ports"
    user=$(id -un)
    cpus=$(nproc)
    memory_mb=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10 / n_node))
    cat >"$SLURM_CONF" <<CONF
ClusterName=corticast
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
# No cgroups, so that it also runs in a container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=512
MaxArraySize=10001
ReturnToService=2
InactiveLimit=0
MinJobAge=3600
KillWait=5
GresTypes=gpu
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    for k in $(seq "$n_node"); do
        echo "NodeName=node$k NodeAddr=127.0.0.1 NodeHostname=$(hostname -s) Port=${ports[k]}" \
            "CPUs=$cpus RealMemory=$memory_mb Gres=gpu:2 State=UNKNOWN" >>"$SLURM_CONF"
    done
    # Slurm counts GPUs by their device files; every machine has these two files.
    echo "Name=gpu File=/dev/null,/dev/zero" >"$dir/gres.conf"
}

start() {
    for tool in munged slurmctld slurmd sinfo python3; do need "$tool"; done
    if [ -e "$dir/slurmctld.pid" ] && kill -0 "$(cat "$dir/slurmctld.pid")" 2>/dev/null; then
        echo "error: Slurm already runs from $dir; stop it first or choose a new folder" >&2
        exit 1
    fi
    mkdir -p "$dir/state" "$dir/munge"
    chmod 700 "$dir/munge"
    (umask 077 && head -c 1024 /dev/urandom >"$dir/munge/munge.key")
    write_configuration
    # --force: DIR may be below a folder that other users can write to.
    munged --force --socket="$dir/munge.socket" --key-file="$dir/munge/munge.key" \
        --pid-file="$dir/munge/munged.pid" --log-file="$dir/munge/munged.log" \
        --seed-file="$dir/munge/seed" 2>"$dir/munge/started.log"
    slurmctld -f "$SLURM_CONF"
    local k
    for k in $(seq "$n_node"); do
        mkdir -p "$dir/spool.node$k"
        slurmd -f "$SLURM_CONF" -N "node$k"
    done
    for _ in $(seq 100); do
        if [ "$(sinfo -h -o '%t %D' 2>/dev/null)" = "idle $n_node" ]; then
            echo "export SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.2
    done
    echo "error: not all of $n_node nodes became idle, see $dir/slurmctld.log and $dir/slurmd.node1.log" >&2
    tail -n 5 "$dir/slurmctld.log" "$dir"/slurmd.*.log >&2 || true
    stop
    exit 1
}

stop() {
    local file pid
    # Jobs are cancelled first, because a job outlives its node's daemon.
    scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 50); do
        [ -n "$(squeue -h 2>/dev/null)" ] || break
        sleep 0.2
    done
    for file in "$dir"/slurmd.*.pid "$dir/slurmctld.pid" "$dir/munge/munged.pid"; do
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        rm -f "$file"
    done
}

case $action in
    start) start ;;
    status) sinfo -N -l ;;
    stop) stop ;;
    *) usage ;;
esac
