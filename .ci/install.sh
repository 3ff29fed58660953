#!/bin/sh
# Copies the tools, their man pages and completions below PREFIX (default /usr/local), and notes what it copied and which
# folders it made, so that `install.sh --uninstall` takes just that away.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=${PREFIX:-/usr/local}
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
doc=share/doc/sdxl-turbo-pipes
list=$prefix/$doc/installed

uninstall() {
  # The folders stand last, the inner ones first; those that hold something else by now stay.
  while read -r kind path; do
    case $kind in
      file) rm -f "$prefix/$path" ;;
      folder) rmdir "$prefix/$path" 2> /dev/null || true ;;
    esac
  done < "$1"
}

if [ "${1-}" = --uninstall ]; then
  [ -f "$list" ] || { echo "$0: nothing is installed below $prefix" >&2; exit 1; }
  notes=$(mktemp)
  mv "$list" "$notes"
  uninstall "$notes"
  rm -f "$notes"
  exit
fi
cd "$here"
# An older version goes first.
[ ! -f "$list" ] || "$0" --uninstall
folders=
for folder in . $(find bin share -type d | sort); do
  [ -d "$prefix/$folder" ] || { mkdir -p "$prefix/$folder"; folders="folder $folder
$folders"; }
done
find bin share -type f | sort | while read -r file; do
  cp -p "$file" "$prefix/$file"
  echo "file $file"
done > "$list"
cp -p install.sh "$prefix/$doc/install.sh"
{ echo "file $doc/install.sh"; printf %s "$folders"; } >> "$list"
echo "installed below $prefix; try: encode-text --model demo 'a red fox' | denoise | decode-latents | to-png > fox.png"
echo "to take it away again: PREFIX=$prefix $prefix/$doc/install.sh --uninstall"
