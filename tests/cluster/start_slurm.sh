#!/usr/bin/env bash
# A Slurm of one node on this machine: munged, slurmctld and slurmd, their state in the folder $1.
# Jobs look for /etc/slurm/slurm.conf, so this is for a throw-away machine, as root, and refuses one that has a Slurm.
set -euo pipefail
if test -e /etc/slurm/slurm.conf && ! grep -q '^ClusterName=dskd-test$' /etc/slurm/slurm.conf; then
  echo "this machine has a Slurm of its own (/etc/slurm/slurm.conf): use that" >&2
  exit 2
fi
command -v slurmctld >/dev/null && command -v slurmd >/dev/null ||
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge >/dev/null; }
place=$(realpath "$1")
mkdir -p "$place/state" "$place/spool"
install -d -o munge -g munge -m 0755 /run/munge
pgrep -x munged >/dev/null || munged --force
host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
mkdir -p /etc/slurm
cat > /etc/slurm/slurm.conf <<CONF
ClusterName=dskd-test
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
NodeName=$host CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
pgrep -x slurmctld >/dev/null || slurmctld
pgrep -x slurmd >/dev/null || slurmd
for _ in $(seq 30); do
  sinfo --noheader --format %T | grep -q idle && exit 0
  sleep 1
done
sinfo >&2
exit 1
