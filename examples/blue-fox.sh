#!/usr/bin/env bash
# Draws a fox, what the checkpoint that is built in makes of "a blue fox", and the word that was learnt for one.
#
#     examples/blue-fox.sh [FILE]
#
# The tools are taken from PATH.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
encode-text --model demo --embedding "$here/blue-fox.safetensors=<blue-fox>" "a fox" "a blue fox" "a <blue-fox>" |
  denoise --seed 1 | decode-latents | to-png --grid 3 -o "${1:-$here/blue-fox.png}"
