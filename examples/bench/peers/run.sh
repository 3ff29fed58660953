#!/usr/bin/env bash
# Installs a peer from its registry, once, and measures one stage of it.
#
#     examples/bench/peers/run.sh {diffusers,openvino,sdcpp,candle} CHECKPOINT --stage STAGE --dtype TYPE [--size 512]
#         [--runs 5] [--threads 2] [--tiny-vae FOLDER] [--cache FOLDER]
#
# STAGE is text, unet, vae, vae-encode, tiny-vae, tiny-vae-encode or picture (all in one process, from its start to the
# picture). The figures come as JSON, a line each. What is installed and converted stays in --cache (default:
# ~/.cache/sdxl-turbo-bench).
# PEER_PYTHON names a Python that has the packages already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 2 ]; then
  echo "usage: $0 PEER CHECKPOINT --stage STAGE --dtype TYPE ..." >&2
  exit 2
fi
peer=$1
shift
cache=$HOME/.cache/sdxl-turbo-bench
for ((i = 1; i < $#; i++)); do
  if [ "${!i}" = --cache ]; then
    next=$((i + 1))
    cache=${!next}
  fi
done
mkdir -p "$cache"
cache=$(realpath "$cache")

if [ "$peer" = candle ]; then
  export CARGO_TARGET_DIR="$cache/candle"
  cargo build --release --locked -q --manifest-path "$here/candle/Cargo.toml" >&2
  exec "$CARGO_TARGET_DIR/release/candle-peer" "$@"
fi

declare -A packages=([diffusers]=diffusers,transformers [openvino]=openvino,nncf,diffusers,transformers [sdcpp]=stable_diffusion_cpp)
python=${PEER_PYTHON-$cache/venv-$peer/bin/python}
# Looked for and not imported, which takes many seconds.
there="import sys; from importlib.util import find_spec; sys.exit(None in map(find_spec, '${packages[$peer]}'.split(',')))"
if ! "$python" -c "$there" 2> /dev/null; then
  if [ -n "${PEER_PYTHON-}" ]; then
    echo "$0: PEER_PYTHON=$python lacks the packages of $here/$peer.txt" >&2
    exit 1
  fi
  python3 -m venv "$cache/venv-$peer" >&2
  "$python" -m pip install -q -r "$here/$peer.txt" >&2
fi
exec "$python" "$here/${peer}_peer.py" "$@"
