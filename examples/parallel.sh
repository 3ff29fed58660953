#!/usr/bin/env bash
# Draws the records of a JSON-lines file on several hosts, with GNU parallel, which gives out a few records at a time to
# whichever host is free.
#
#     examples/parallel.sh [--records-per-job N] [--retries R] HOSTS RECORDS FOLDER [COMMAND]
#
# HOSTS is HOST,HOST... or a file with a host a line. Prompts are encoded here; COMMAND (default: denoise | decode-latents,
# which leave out a record that fails) runs on the hosts; the pictures are written here, into FOLDER, as soon as each is
# done. A host that dies, or comes back, in the middle of a run costs only what it was at: another draws what is missing
# of those N records (default 8), up to R times (default: once a host, and three times more). FOLDER.joblog says which
# host did what. Started again, the same command draws only pictures that are missing.
#
# Every record needs an "id", which names its picture, and a "seed", without which each run draws another picture. Here it
# takes GNU parallel; on the hosts perl, the tools, and the checkpoint under the name that it has here.
set -euo pipefail
pictures='{id}.png'

if [ "${1-}" = --ssh ]; then
  # GNU parallel runs this in the place of ssh, once for each job, with the job's records on stdin.
  shift
  job=$(cat)
  # Embeddings of the records whose pictures are not there.
  missing() { encode-text --jsonl --on-error skip --skip-existing "$pictures" <<< "$job"; }
  # The first byte of a stream in octal; nothing of an empty one. dd takes one byte and no more.
  first_byte() { dd bs=1 count=1 status=none | od -An -to1 | tr -d ' '; }
  missing | {
    # No host is asked where nothing is missing.
    first=$(first_byte)
    [ -n "$first" ] || exit 0
    # A host that is gone without a word is noticed within a minute.
    { printf "\\$first" && cat; } | ssh -o ConnectTimeout=15 -o ServerAliveInterval=15 "$@"
  } | to-png --skip-existing -o "$pictures"
  # A stage that was killed between two frames leaves a stream that looks whole.
  left=$(missing 2> /dev/null | first_byte || true)
  [ -z "$left" ] || { echo "$0: pictures are missing; another host is asked" >&2; exit 1; }
  exit
fi

usage() {
  echo "usage: $0 [--records-per-job N] [--retries R] HOST,HOST...|FILE RECORDS FOLDER [COMMAND]" >&2
  exit 2
}
per_job=8 retries=
while [[ "${1-}" == --* ]]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --records-per-job) per_job=$2 ;;
    --retries) retries=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[ $# -ge 3 ] || usage
records=$(realpath "$2") folder=$3 this=$(realpath "$0")
command=${4-denoise --on-error skip | decode-latents --on-error skip}
if [ -f "$1" ]; then
  hosts=(--sshloginfile "$(realpath "$1")")
  count=$(grep -c . "$1")
else
  hosts=(--sshlogin "$1")
  count=$(tr ',' '\n' <<< "$1" | grep -c .)
fi
mkdir -p "$folder"
folder=$(realpath "$folder")
cd "$folder"
exec parallel --pipe -N "$per_job" --ungroup --jobs 1 "${hosts[@]}" --retries "${retries:-$((count + 3))}" \
  --joblog "$folder.joblog" --ssh "bash $(printf %q "$this") --ssh" "$command" < "$records"
