#!/bin/sh
# Make the project's virtual environment from the lock file. Usage: requirements/bootstrap.sh FOLDER
# Needs a Python 3.11 to 3.13; installs Debian packages only as root, and says so first.
set -eu
folder=$1

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 5; }

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
[ -x /usr/bin/openssl ] || packages="$packages openssl"

if [ -n "$packages" ]; then
    [ "$(id -u)" = 0 ] || fail "missing Debian packages: run 'sudo apt-get install $packages', then this again"
    say "Installing Debian packages: $packages"
    apt-get update -qq
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

say "Making $folder with $("$python" --version) from requirements/dev.txt (the first time takes a minute or two)"
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
"$folder/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
