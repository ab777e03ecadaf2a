#!/bin/sh
# What images, containers as robots, a registry and arm64 under emulation need, from Debian's packages. Quick when all is there.
# Installs only as root, says so first, and removes nothing. Starts nothing: an engine is started by what needs one, and stopped by it.
set -eu
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 5; }
known() { [ -n "$(apt-cache show "$1" 2>/dev/null)" ]; }
has() { command -v "$1" >/dev/null 2>&1; }

missing=
while read -r package program; do
    has "$program" || missing="$missing $package"
done <<PROGRAMS
arch-test arch-test
docker-registry docker-registry
iptables iptables
mmdebstrap mmdebstrap
curl curl
openssh-client ssh
qemu-user-static qemu-aarch64-static
skopeo skopeo
PROGRAMS
# An engine that is installed or answers is kept, whoever made it: Debian's would take the place of its client.
has dockerd || { has docker && docker version >/dev/null 2>&1; } || missing="$missing docker.io"
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! has apt-get; then
    fail "missing Debian packages: run 'sudo requirements/bench.sh', then this again (it installs:$missing)"
fi
apt-get update -qq ||
    fail "Debian's lists of packages cannot be fetched: check network, proxy and /etc/apt, then run this again"
case $missing in # newer releases have client and builder in packages of their own
*docker.io*) for package in docker-cli docker-buildx; do known "$package" && missing="$missing $package"; done ;;
esac
say "Installing Debian packages:$missing"
# The packages' own services stay off: a policy that refuses them is there only while they are installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# shellcheck disable=SC2086 # one word a package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove $missing >/dev/null ||
    fail "Debian's packages could not be installed (apt's words are above): fix that, then run this again"
case $missing in # it would serve everybody on the network after the next boot
*docker-registry*) ! has systemctl || systemctl disable --quiet docker-registry >/dev/null 2>&1 || true ;;
esac
