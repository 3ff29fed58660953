#!/usr/bin/env bash
# Draws a contact sheet of a few dozen prompts, in one step each, with the checkpoint that is built in.
#
#     examples/contact-sheet.sh [PROMPTS] [FILE]
#
# PROMPTS has one prompt a line. The tools are taken from PATH.
set -euo pipefail
here=$(dirname "$0")
encode-text --model demo < "${1:-$here/contact-sheet.txt}" |
  denoise --steps 1 --seed 0 |
  decode-latents |
  to-png --grid 8 -o "${2:-$here/contact-sheet.png}"
