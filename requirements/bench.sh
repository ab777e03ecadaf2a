#!/bin/sh
# What containers as robots, a registry and arm64 under emulation need, from Debian's packages. Quick when all is there.
# Installs only as root, and says so first. Starts nothing: an engine is started by what needs one, and stopped by it.
set -eu

say() { printf '%s\n' "$*" >&2; }

missing=
while read -r package program; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $package"
done <<PROGRAMS
arch-test arch-test
docker.io dockerd
docker-registry docker-registry
iptables iptables
mmdebstrap mmdebstrap
openssh-client ssh
qemu-user-static qemu-aarch64-static
PROGRAMS
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "error: missing Debian packages: run 'sudo apt-get install --no-install-recommends$missing', then this again"
    exit 5
fi
say "Installing Debian packages:$missing"
apt-get update -qq
# The packages' own services stay off: a policy that refuses them is there only while they are installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086 # one word a package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
