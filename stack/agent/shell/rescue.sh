#!/bin/sh
# Bring an earlier release back without the agent. Usage: homeport-rescue [--root DIR] [--wait SECONDS] [previous|fallback]
# It reads no document: `current` is pointed at what the link names, through the slot that does not drive, and what runs is restarted.
# Exit codes: 0 the release runs, 1 something did not work, 2 usage, 5 refused and nothing was touched. docs/rollback.md says when to use it.
set -eu
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
root=/var/lib/homeport etc=/etc/homeport run=/run/homeport agent=/usr/local/bin/homeport-agent name=previous run_s=35
other="try the other one of previous and fallback"

end() { # code, sentence
    logger -t homeport-rescue -- "$2" 2>/dev/null || :
    [ "$1" = 0 ] || exec >&2
    printf '%s\n' "$2"
    exit "$1"
}
usage() { end 2 "error: $1; usage: homeport-rescue [--root DIR] [--wait SECONDS] [previous|fallback]"; }
refuse() { end 5 "error: $1"; }

link() { # path, target: readers and the next boot see the old link or the new one
    { rm -f "$1.rescue" && ln -s "$2" "$1.rescue" && mv -T "$1.rescue" "$1"; } ||
        end 1 "error: $1: cannot be replaced, so the robot keeps what it had; is its disk full or read-only?"
    sync "${1%/*}" 2>/dev/null || sync
}
slots() { # environments of the processes in slots; in containers there is one robot, else they name their root
    [ "$kind" = docker ] && in= || in=PYTHONPATH=$root/releases/
    grep -lsF HOMEPORT_SLOT= /proc/[0-9]*/environ | xargs -r grep -lsF "$in"
}
docker() { # a Docker that is frozen takes requests and answers none, so every call has a deadline
    limit_s=10
    [ "$1" != load ] || limit_s=600
    timeout -k 1 "$limit_s" docker "$@"
}
images() { docker image ls --all --quiet --no-trunc 2>/dev/null; }
digest() { # copy: what releases call the image that is in it
    digest=${1##*/}
    printf 'sha256:%s' "${digest%.*}"
}
named() { grep -qsF "$(digest "$1")" "$release/release.json" "$etc/agent.toml"; }
whole() { # copy: Docker has not its image under our name, and its bytes are those that the file beside it tells of
    ! docker image inspect "homeport/pin:$(digest "$1" | cut -c 8-)" >/dev/null 2>&1 &&
        grep -qsF "$(sha256sum <"$1" | cut -c -64)" "${1%.tar}.json"
}
# shellcheck disable=SC2329 # called by wait_for
runs() { slots | xargs -r grep -lsF "HOMEPORT_RELEASE=sha256:$hex" | xargs -r grep -lsF "HOMEPORT_SLOT=$new" | grep -q .; }
wait_for() { # seconds, test
    left=$1
    shift
    until "$@"; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 1
    done
}

while [ $# -gt 0 ]; do
    case $1 in
        --root)
            root=$(readlink -f -- "${2:-}") && [ -d "$root" ] || usage "--root: '${2:-}' is no folder"
            etc=$root/etc run=/tmp/homeport-$(id -u)-$(printf %s "$root" | sha256sum | cut -c -10) agent=$root/bin/homeport-agent
            shift ;;
        --wait)
            [ "${2:-none}" -ge 0 ] 2>/dev/null || usage "--wait needs seconds"
            run_s=$2
            shift ;;
        previous | fallback) name=$1 ;;
        *) usage "$1 is neither previous nor fallback" ;;
    esac
    shift
done

# Refuse before anything stops, as far as it can be told without reading a document.
target=$(readlink "$root/$name") || refuse "$root/$name: this robot has no such release; $other"
hex=${target#releases/} release=$root/$target
case $hex in *[!0-9a-f]*) hex= ;; esac
[ ${#hex} = 64 ] || refuse "$root/$name: leads to $target, not to a release; $other"
for part in release.json release.dsse.json model/vla.json engine/ready prove.json; do
    [ -e "$release/$part" ] || refuse "$release: not complete ($part missing), so nothing was touched; $other"
done
kind=docker image=
[ ! -d "$release/site" ] || kind=process
for copy in "$root"/images/*.whl; do # from which the agent unpacks site/ again
    ! named "$copy" || kind=process
done
if [ "$kind" = docker ]; then
    known=$(images) || refuse "$release: has no site/, and Docker does not answer; start it, or start it again where it hangs (systemctl restart containerd docker), then run this again"
    for copy in "$root"/images/*.tar; do # what Docker has lost comes back from its copy, where that is whole
        if named "$copy" && whole "$copy"; then
            docker load --quiet --input "$copy" >/dev/null 2>&1 || :
            known=$(images) || :
        fi
    done
    for each in $known; do
        ! grep -qF "$each" "$release/release.json" || image=$each
    done
    [ -n "$image" ] || refuse "$release: its image is not in Docker's store and has no copy in $root/images, so nothing was touched; $other"
fi
[ -w "$root" ] || refuse "$root: $(id -un) may not change it; run this as root"

slot=$(readlink "$root/current") || slot=
case $slot in slots/a) new=b ;; *) new=a ;; esac
case $slot in slots/[ab]) [ "$(readlink "$root/$slot")" != "../releases/$hex" ] || new=${slot#slots/} ;; esac
if [ "$slot" != "slots/$new" ]; then
    mkdir -p "$root/slots"
    link "$root/slots/$new" "../releases/$hex"
    link "$root/current" "slots/$new"
fi

# From here on every start, by whomever, is one of this release.
if [ "$kind" = process ]; then
    for file in $(slots); do
        pid=${file#/proc/}
        kill -9 "${pid%/environ}" 2>/dev/null || :
    done
    if [ "$root" = /var/lib/homeport ] && systemctl cat homeport-agent.service >/dev/null 2>&1; then
        systemctl kill --signal=KILL homeport-agent.service 2>/dev/null || :
        systemctl --no-block start homeport-agent.service || :
        advice="read journalctl -u homeport-agent; apply the role device if the agent is broken"
    else
        advice="end the agent if it hangs, and start it: $agent --root $root serve"
    fi
else
    systemctl stop homeport-slot@a.service || :
    systemctl stop homeport-slot@b.service || :
    rm -f "$run/agent.sock"
    systemctl kill --signal=KILL homeport-agent.service 2>/dev/null || :
    systemctl --no-block start homeport-agent.service || :
    if ! wait_for 10 test -S "$run/agent.sock" && [ -e "$agent.good" ]; then
        cp -p "$agent.good" "$agent.rescue" && mv -T "$agent.rescue" "$agent"
        systemctl --no-block restart homeport-agent.service || :
        wait_for 10 test -S "$run/agent.sock" || :
    fi
    if [ ! -S "$run/agent.sock" ]; then # a supervisor that starts takes what `current` names
        systemctl start "homeport-slot@$new.service" || :
        systemctl restart homeport-supervisor.service || :
    fi
    advice="read journalctl -u homeport-agent -u homeport-slot@$new; apply the role device if the agent is broken"
fi
what="$name ($(printf %.12s "$hex")) is current, in slot $new"
wait_for "$run_s" runs || end 1 "error: $what, and does not run yet; $advice"
end 0 "$what, and runs; the robot stands until somebody arms it: homeport-agent arm"
