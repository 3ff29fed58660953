#!/usr/bin/env bash
# Draws the records of a JSON-lines file on several hosts, with GNU parallel: one pipe for each host, loaded once.
#
#     examples/parallel.sh HOST,HOST... RECORDS FOLDER [COMMAND]
#
# Prompts are encoded here; COMMAND (default: denoise | decode-latents) runs on the hosts; the pictures are written here,
# into FOLDER, as soon as each is done. Each host gets an equal part of RECORDS, a file. If a host dies, the others do
# their parts all the same. Whatever went wrong, start it again, with the hosts that are there: only pictures that are
# missing are drawn.
#
# Every record needs an "id", which names its picture, and a "seed", without which each run draws another picture. Here it
# takes GNU parallel; on the hosts perl, the tools, and the checkpoint under the name that it has here.
set -euo pipefail
pictures='{id}.png'

if [ "${1-}" = --ssh ]; then
  # GNU parallel runs this in the place of ssh, once for each host, with the host's records on stdin.
  shift
  # A host that is gone without a word is noticed within a minute.
  encode-text --jsonl --skip-existing "$pictures" |
    ssh -o ServerAliveInterval=15 "$@" |
    to-png --skip-existing -o "$pictures"
  exit
fi

if [ $# -lt 3 ]; then
  echo "usage: $0 HOST,HOST... RECORDS FOLDER [COMMAND]" >&2
  exit 2
fi
hosts=$1 records=$(realpath "$2") folder=$3 command=${4-denoise | decode-latents}
this=$(realpath "$0")
mkdir -p "$folder"
cd "$folder"
# --block -1: as many parts as there are hosts, each read as it is wanted.
exec parallel --pipe-part --arg-file "$records" --block -1 --ungroup \
  --jobs 1 --sshlogin "$hosts" --ssh "bash $(printf %q "$this") --ssh" "$command"
