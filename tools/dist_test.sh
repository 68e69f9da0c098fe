#!/usr/bin/env bash
# Test in several processes of one machine, or of several with NNODES, NODE_RANK and MASTER_ADDR
# set; each process has a GPU, or where there is none a share of the CPU.
# Usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of test.py]
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "Usage: $0 CONFIG CHECKPOINT PROCESSES [flags of test.py]" >&2
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
tools=$(dirname "${BASH_SOURCE[0]}")
exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${MASTER_PORT:-29500}" \
    --nproc-per-node="$processes" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
