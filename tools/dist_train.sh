#!/usr/bin/env bash
# Train on several GPUs of one machine, or of several with NNODES, NODE_RANK and MASTER_ADDR set.
# Usage: tools/dist_train.sh CONFIG GPUS [flags of train.py]
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "Usage: $0 CONFIG GPUS [flags of train.py]" >&2
    exit 2
fi
config=$1
gpus=$2
tools=$(dirname "${BASH_SOURCE[0]}")
exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${MASTER_PORT:-29500}" \
    --nproc-per-node="$gpus" \
    "$tools/train.py" "$config" --launcher pytorch "${@:3}"
