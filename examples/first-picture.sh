#!/usr/bin/env bash
# Builds the tools and draws a first picture: with the demo checkpoint that is built into them, or with SDXL Turbo
# where that is in the Hugging Face cache already, or with the checkpoint that TURBO_MODEL names.
#
#     examples/first-picture.sh [PROMPT] [FILE]
set -euo pipefail
cd "$(dirname "$0")/.."
prompt=${1:-"a red fox"}
picture=${2:-first-picture.png}
cargo build --release --locked -p encode-text -p denoise -p decode-latents -p to-png
PATH=${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH
cache=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
if [ -z "${TURBO_MODEL:-}" ] && [ ! -d "$cache/models--stabilityai--sdxl-turbo" ]; then
  export TURBO_MODEL=demo
fi
encode-text "$prompt" | denoise --seed 0 | decode-latents | to-png -o "$picture"
echo "$picture"
