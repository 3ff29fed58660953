#!/usr/bin/env bash
# Draws a picture, and what becomes of it with another prompt and strengths from 0.25 to 1, side by side, with the
# checkpoint that is built in.
#
#     examples/image-to-image.sh [PICTURE] [PROMPT] [FILE]
#
# Without a PICTURE it draws one. The tools are taken from PATH.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
play=$(mktemp -d)
trap 'rm -r "$play"' EXIT
export TURBO_MODEL=demo
picture=${1:-}
if [ -z "$picture" ]; then
  picture=$play/picture.png
  encode-text "a red apple" | denoise --seed 0 | decode-latents | to-png -o "$picture"
fi
encode-text "${2:-a pear}" | encode-image --join - "$picture" > "$play/joined"
{
  encode-image "$picture"
  for strength in 0.25 0.5 0.75 1; do
    denoise --steps 4 --seed 1 --strength $strength < "$play/joined"
  done
} | decode-latents | to-png --grid 5 -o "${3:-$here/image-to-image.png}"
