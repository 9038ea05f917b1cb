#!/usr/bin/env bash
# The smoke study as Slurm jobs, one of which is killed in the middle; prints what ran and whether all of it is there.
# `tests/cluster/run_study.sh FOLDER`: as root, on a machine without a Slurm of its own; FOLDER takes runs and state.
set -euo pipefail
home=$(realpath -m "$1")
root=$(realpath "$(dirname "$0")/../..")
mkdir -p "$home/slurm"
"$root/tests/cluster/start_slurm.sh" "$home/slurm"
cd "$root"
git clone --quiet . "$home/study" 2>/dev/null || git -C "$home/study" pull --quiet
ln -sfn "$root/.venv" "$home/study/.venv"
cd "$home/study"
touch .venv/.ready
cp -r workflow/profiles/slurm workflow/profiles/here # as a user would, for a cluster of few cores
printf 'set-threads:\n  notebook: %s\n' "$(nproc)" >> workflow/profiles/here/config.yaml
PYTHONPATH=$home/study make study PROFILE=smoke WHERE=here > "$home/make.log" 2>&1 &
batch=$!
results=runs/smollm2-135m/smoke/results
# The job of notebook 04 is killed once its students are being trained.
until compgen -G "runs/smollm2-135m/smoke/students/*" >/dev/null || compgen -G "runs/smollm2-135m/smoke/students/.*.partial" >/dev/null; do
  kill -0 "$batch" || { tail -n 20 "$home/make.log" >&2; exit 1; }
  sleep 0.2
done
killed=$(squeue --noheader --states=RUNNING --format %A | head -n 1)
scancel --signal=KILL --full "$killed"
echo "job $killed was killed by SIGKILL"
wait "$batch" || { tail -n 20 "$home/make.log" >&2; exit 1; }
scontrol --oneliner show jobs | grep -oE 'JobId=[0-9]+|JobState=[A-Z]+|RunTime=[0-9:]+' | paste - - -
ls $results/*.json _build/html/index.html
echo "the study is complete"
