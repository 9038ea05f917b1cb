#!/usr/bin/env bash
# Papermill, for each process of a launch of several; the executed notebook of the first one is kept.
set -euo pipefail
source=$1 executed=$2
shift 2
if [ "${RANK:-0}" != 0 ]; then
  executed=$(mktemp --suffix=.ipynb)
  trap 'rm -f "$executed"' EXIT
fi
papermill "$source" "$executed" "$@"
