#!/bin/sh
# Make the project's virtual environment from the lock file. Usage: requirements/bootstrap.sh FOLDER
# Needs a Python 3.11 to 3.13; installs Debian packages only as root, and says so first.
set -eu
folder=$1
case $folder in -*) folder=./$folder ;; esac
mark=$folder/.homeport # says that the folder is ours; without .ready beside it, its making was interrupted
size_mb=870            # what the packages of dev.txt take, by du
fetched_mb=220         # what they take packed, while pip fetches them
fetched_to=/tmp
[ ! -d "${TMPDIR:-}" ] || fetched_to=$TMPDIR

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 5; }
free_mb() { echo $(($(df -Pk "$1" | awk 'END { print $(NF - 2) }') / 1024)); }

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "this runs on x86-64 Linux, and here is $(uname -s) $(uname -m): the ROS 2 wheels exist for no other"

packages=
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
[ -n "${python:-}" ] || fail "no Python 3.11, 3.12 or 3.13 found: install one, or name it with PYTHON=/path/to/python3"
"$python" -c 'import ensurepip' >/dev/null 2>&1 ||
    packages="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
[ -x /usr/bin/openssl ] || packages="${packages:+$packages }openssl"

if [ -n "$packages" ]; then
    [ "$(id -u)" = 0 ] ||
        fail "missing Debian packages: run 'sudo apt-get update && sudo apt-get install -y $packages', then this again"
    say "Installing Debian packages: $packages"
    apt-get update -qq ||
        fail "Debian's lists of packages cannot be fetched: check network, proxy and /etc/apt, then run this again"
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
        fail "Debian's packages could not be installed (apt's words are above): fix that, then run this again"
fi

# Only what carries our mark, or was finished by us, is ever emptied or changed. An empty folder is taken.
if [ -e "$folder" ] && [ ! -e "$mark" ] && [ ! -e "$folder/.ready" ] && [ -n "$(ls -A "$folder")" ]; then
    fail "$folder was not made by this project and is not empty: name another folder with VENV=, or remove it yourself"
fi
mkdir -p "$folder" || fail "$folder cannot be made: name another folder with VENV="
exec 9>>"$mark" # a pip that outlives a killed run holds the lock, so that nobody works beside it
flock -n 9 || { say "Something else is making $folder: waiting for it to end"; flock 9; }

if [ ! -e "$folder/.ready" ] || ! "$folder/bin/python" -c '' >/dev/null 2>&1; then
    find "$folder/." -mindepth 1 -maxdepth 1 ! -name .homeport -exec rm -rf --one-file-system {} +
    free=$(free_mb "$folder")
    [ "$free" -ge "$size_mb" ] ||
        fail "$folder has $free MB free and needs $size_mb MB: free some, or name another disk's folder with VENV="
    free=$(free_mb "$fetched_to")
    [ "$free" -ge "$fetched_mb" ] ||
        fail "$fetched_to has $free MB free and needs $fetched_mb MB for what is fetched: free some, or name another" \
            "folder with TMPDIR="
fi
rm -f "$folder/.ready"
touch "$mark"
count=$(sed -n "/sys_platform == /d; s/^\([A-Za-z0-9._-]*\)==.*/\1/p" requirements/dev.txt | sort -u | wc -l)
say "Making $folder with $("$python" --version): $count packages of requirements/dev.txt, about $size_mb MB on disk," \
    "one to three minutes the first time"

# One line that is written over, on a terminal only; it ends when this script was killed.
progress() {
    while kill -0 $$ 2>/dev/null; do
        fetched=$(grep -cE '^(Collecting|Processing) ' "$folder/pip.log" || true)
        installed=$(find "$folder/lib" -maxdepth 4 -name '*.dist-info' 2>/dev/null | wc -l)
        printf '\r  %s of %s packages fetched, %s installed' "$fetched" "$count" "$installed" >&2
        sleep 1
    done
}

# What pip says goes to a file; on failure its last lines are shown, and one sentence says what to do.
quietly() {
    : >"$folder/pip.log"
    watcher=
    if [ -t 2 ]; then
        progress 9>&- &
        watcher=$!
    fi
    code=0
    "$@" >"$folder/pip.log" 2>&1 || code=$?
    if [ -n "$watcher" ]; then
        kill "$watcher" 2>/dev/null || true
        wait "$watcher" 2>/dev/null || true
        printf '\r\033[K' >&2
    fi
    [ "$code" != 0 ] || return 0
    tail -n 8 "$folder/pip.log" | sed 's/^/    /' >&2
    if grep -q 'No space left' "$folder/pip.log"; then
        fail "the disk is full: free about $size_mb MB where $folder is, and $fetched_mb MB in $fetched_to, where" \
            "packages are fetched to, then run this again"
    elif grep -q 'DO NOT MATCH THE HASHES' "$folder/pip.log"; then
        fail "a package differs from what requirements/dev.txt expects: check your package index, then run this again"
    elif grep -qE 'Retrying \(|ConnectionError|Temporary failure' "$folder/pip.log"; then
        fail "the package index cannot be reached: check network and proxy, then run this again"
    fi
    fail "the environment could not be made (pip's last lines are above): fix that, then run this again"
}
# venv itself refuses a folder that is a link to another disk's.
[ -x "$folder/bin/python" ] || quietly "$python" -m venv "$(cd "$folder" && pwd -P)"
quietly "$folder/bin/python" -m pip install --progress-bar off --disable-pip-version-check \
    --require-hashes -r requirements/dev.txt
quietly "$folder/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
sync -f "$folder" # after a power cut, .ready must not be there without the files
touch -r "$mark" "$folder/.ready"
