#!/usr/bin/env bash
# A Slurm of one node on this machine's loopback, to try configs/slurm before a cluster sees it.
#
#   scripts/slurm_one_node.sh start DIR    munge key, configuration, daemons; prints SLURM_CONF
#   scripts/slurm_one_node.sh status DIR   the node's state
#   scripts/slurm_one_node.sh stop DIR     ends the daemons that `start` started, and no others
#
# Needs the Debian packages slurm-wlm and munge; no network, no service of the system is touched.
# Everything it writes is below DIR, which should be new. Jobs run as the user who started it.
set -euo pipefail

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -eq 2 ] || usage
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
export SLURM_CONF=$dir/slurm.conf
PATH=$PATH:/usr/sbin:/sbin

need() {
    command -v "$1" >/dev/null || {
        echo "error: $1 is not installed, expected the Debian package slurm-wlm" >&2
        exit 1
    }
}

# Ports that nobody listens on, from a start that differs by folder.
free_ports() {
    python3 - "$dir" <<'PY'
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
    if len(found) == 2:
        print(*found)
        sys.exit()
sys.exit("error: no free port on the loopback")
PY
}

write_configuration() {
    local ports controller_port node_port user cpus memory_mb
    ports=$(free_ports)
    read -r controller_port node_port <<<"$ports"
    user=$(id -un)
    cpus=$(nproc)
    memory_mb=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
    cat >"$SLURM_CONF" <<CONF
ClusterName=corticast
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
# Nothing of the kernel's: no cgroups, so that it also runs in a container.
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
SlurmctldParameters=enable_configless
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname=$(hostname -s) CPUs=$cpus RealMemory=$memory_mb State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
    for tool in munged slurmctld slurmd sinfo python3; do need "$tool"; done
    if [ -e "$dir/slurmctld.pid" ] && kill -0 "$(cat "$dir/slurmctld.pid")" 2>/dev/null; then
        echo "error: a Slurm already runs from $dir, expected a new folder or stop first" >&2
        exit 1
    fi
    mkdir -p "$dir/state" "$dir/spool" "$dir/munge"
    chmod 700 "$dir/munge"
    (umask 077 && head -c 1024 /dev/urandom >"$dir/munge/munge.key")
    write_configuration
    # --force: a scratch folder may lie below one that others can write to.
    munged --force --socket="$dir/munge.socket" --key-file="$dir/munge/munge.key" \
        --pid-file="$dir/munge/munged.pid" --log-file="$dir/munge/munged.log" \
        --seed-file="$dir/munge/seed" 2>"$dir/munge/started.log"
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF" -N localhost
    for _ in $(seq 100); do
        if [ "$(sinfo -h -o %t 2>/dev/null)" = idle ]; then
            echo "export SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.2
    done
    echo "error: the node did not become idle, see $dir/slurmctld.log and $dir/slurmd.log" >&2
    tail -n 5 "$dir/slurmctld.log" "$dir/slurmd.log" >&2 || true
    stop
    exit 1
}

stop() {
    local file pid
    for file in "$dir/slurmd.pid" "$dir/slurmctld.pid" "$dir/munge/munged.pid"; do
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
