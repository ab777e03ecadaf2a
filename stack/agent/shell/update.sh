#!/bin/sh
# A new agent on trial. Usage: homeport-agent-update [--settle] [--agent FILE] [--wait SECONDS]
# FILE.candidate becomes FILE, systemd starts it, and it has to answer. When it does not, the agent that was there comes back by a rename. Nothing here
# runs on the new agent. --settle (at boot, before the stack) ends a trial that a power cut has interrupted: an agent that did not prove itself goes.
# Exit codes: 0 the candidate is the agent, or was it already; 1 it failed and the one before is back; 2 usage; 6 a release is being changed, or another
# update goes on: nothing was touched. docs/rollback.md says more.
set -eu
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
agent=/usr/local/bin/homeport-agent unit=homeport-agent.service settle='' answer_s=60 steady_s=3

end() { # code, sentence
    logger -t homeport-agent-update -- "$2" 2>/dev/null || :
    [ "$1" = 0 ] || exec >&2
    printf '%s\n' "$2"
    exit "$1"
}
flush() { sync "$1" 2>/dev/null || sync; }
replace() { # file, by: readers and the next boot see the old file or the new one
    { flush "$1" && mv -T "$1" "$2" && flush "${2%/*}"; } ||
        end 1 "error: $2: cannot be replaced, so the robot keeps the agent it had; is its disk full?"
}
copy() { rm -f "$2.new" && cp -p "$1" "$2.new" && replace "$2.new" "$2"; }
answers() { # an agent that finds its robot not healthy (3) does its work
    { said=$(timeout 10 "$agent" --json status) || [ $? = 3 ]; } 2>/dev/null
}
main_pid() { systemctl show --property MainPID --value "$unit" 2>/dev/null || :; }
# shellcheck disable=SC2329 # called by wait_for
other_answers() { # not the process from before: a restart that was only asked for is none
    pid=$(main_pid)
    [ "${pid:-0}" != 0 ] && [ "$pid" != "$before" ] && answers
}
fit() { { timeout 30 "$1" doctor --only settings keys; } >/dev/null 2>&1; }
now() { # seconds since boot, which no clock change moves
    read -r up _ </proc/uptime
    printf %s "${up%.*}"
}
wait_for() { # seconds, test
    ends=$(($(now) + $1))
    shift
    until "$@"; do
        [ "$(now)" -lt "$ends" ] || return 1
        sleep 1
    done
}
proves_itself() { # also some seconds later, as the same process: a crash loop answers in between
    wait_for "$answer_s" other_answers || return 1
    sleep "$steady_s"
    [ "$(main_pid)" = "$pid" ] && answers
}
start() {
    before=$(main_pid)
    systemctl --no-block restart "$unit" || :
}

while [ $# -gt 0 ]; do
    case $1 in
        --settle) settle=1 ;;
        --agent) [ -n "${2:-}" ] || end 2 "error: --agent needs a file"
            agent=$2
            shift ;;
        --wait) [ "${2:-none}" -ge 0 ] 2>/dev/null || end 2 "error: --wait needs seconds"
            answer_s=$2
            shift ;;
        *) end 2 "error: $1: unknown; usage: homeport-agent-update [--settle] [--agent FILE] [--wait SECONDS]" ;;
    esac
    shift
done
trap '' HUP PIPE
exec 9<"$0"
flock -n 9 || end 6 "error: another update of this agent goes on; wait for it"

[ ! -e "$agent.previous" ] || replace "$agent.previous" "$agent"
[ -z "$settle" ] || exit 0
[ -e "$agent.candidate" ] || end 2 "error: $agent.candidate: not there; the role device puts it there"
! cmp -s "$agent.candidate" "$agent" || end 0 "the candidate is the agent already"
if [ ! -e "$agent" ] || ! systemctl cat "$unit" >/dev/null 2>&1; then
    copy "$agent.candidate" "$agent"
    end 0 "the candidate became the agent; there was none that it could be tried against"
fi
if answers; then # one that does not answer does nothing that this could interrupt
    case $said in
        *'"deployment": null'*) ;;
        *) end 6 "error: a release is being changed; wait for it, or roll it back, and try again" ;;
    esac
fi
fit "$agent.candidate" || ! fit "$agent" || end 1 "error: $agent.candidate does not accept this robot's settings and keys, and the agent does; see $agent.candidate doctor"

copy "$agent" "$agent.previous"
copy "$agent.candidate" "$agent"
start
if proves_itself && { fit "$agent" || ! fit "$agent.previous"; }; then
    copy "$agent" "$agent.good"
    rm "$agent.previous"
    flush "${agent%/*}"
    end 0 "the candidate became the agent"
fi
words=$(journalctl -u "$unit" -n 1 -o cat --no-pager 2>/dev/null || :)
replace "$agent.previous" "$agent"
start
wait_for "$answer_s" other_answers || end 1 "error: the candidate did not prove itself (${words:-it wrote nothing}), and the agent from before does not answer either; see homeport-rescue"
end 1 "error: the candidate did not prove itself (${words:-it wrote nothing}); the agent from before is back and answers"
