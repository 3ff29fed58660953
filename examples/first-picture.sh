#!/usr/bin/env bash
# Builds the tools and draws a first picture with whatever checkpoint is at hand.
#
#     examples/first-picture.sh [PROMPT] [FILE]
set -euo pipefail
cd "$(dirname "$0")/.."
prompt=${1:-"A small cactus with a happy face in the Sahara desert."}
picture=${2:-first-picture.png}
cargo build --release --locked -p encode-text -p denoise -p decode-latents -p to-png
PATH=${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH
draw() { encode-text "$@" "$prompt" | denoise --seed 0 | decode-latents | to-png -o "$picture"; }
cache=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
if [ -n "${TURBO_MODEL:-}" ] || [ -d "$cache/models--stabilityai--sdxl-turbo" ]; then
  draw
else
  echo "no checkpoint here: drawing noise with a small one of random weights"
  echo "(fetch-model stabilityai/sdxl-turbo brings the real one)"
  cargo run --release --locked -q -p turbo-testkit --example tiny-checkpoint -- target/tiny-checkpoint
  draw --model target/tiny-checkpoint
fi
echo "$picture"
