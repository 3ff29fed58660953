#!/usr/bin/env bash
# Draws a row of prompts without a LoRA, with half of one and with all of it, with the checkpoint that is built in.
#
#     examples/line-drawing.sh [FILE]
#
# The tools are taken from PATH.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for scale in 0 0.5 1; do
  encode-text --model demo --lora "$here/line-drawing.safetensors=$scale" "a fox" "a rocket" "a sailboat" "an octopus" \
    "a house" "a bicycle" "a teapot" "a dragon"
done | denoise --seed 1 | decode-latents | to-png --grid 8 -o "${1:-$here/line-drawing.png}"
