#!/usr/bin/env bash
# COCO val2017 on all GPUs of a cluster, as one job that may be repeated until it is done:
#
#   jobs/evaluate_coco.sh http://head:8265 /shared/coco /shared/model.pth /shared/results
#
# /shared/coco holds val2017/ and annotations/instances_val2017.json; the folders must be on storage
# that every node sees, or URIs. The exit code is odtk-ray's; NAME.metrics.json is beside the detections NAME.json.
set -euo pipefail
if [ $# -ne 4 ]; then
  sed -n '2,7p' "$0" >&2
  exit 2
fi
exec "${PYTHON:-python}" "$(dirname "$0")/submit.py" --address "$1" -- \
  odtk-ray infer "$3" --images "$2/val2017" --annotations "$2/annotations/instances_val2017.json" \
  --output "$4/detections.json" --resume
