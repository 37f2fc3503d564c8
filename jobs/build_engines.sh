#!/usr/bin/env bash
# TensorRT plans for every kind of GPU of a cluster, as one job: an engine set.
#
#   jobs/build_engines.sh http://head:8265 /shared/model.pth /shared/engines --size 800 1280
#
# Model and folder must be on storage that every node sees, or URIs. Further flags are those of
# `odtk-ray export`; --gpu-type A10G, repeated, takes the place of all kinds. The exit code is
# odtk-ray's: with 3 some plans failed, and the same line builds those that are missing.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,8p' "$0" >&2
  exit 2
fi
address=$1 model=$2 engines=$3
shift 3
case " $* " in
  *" --gpu-type"*) ;;
  *) set -- --gpu-type all "$@" ;;
esac
exec "${PYTHON:-python}" "$(dirname "$0")/submit.py" --address "$address" -- \
  odtk-ray export "$model" "$engines" "$@"
