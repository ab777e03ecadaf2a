"""The decisions of a rollout as pure functions: who comes when, did a wave pass, whom to restore.

The playbooks carry, these filters decide, so that every decision has a table test. A robot counts as done only by
`verified` in its own registered result: unreachable, silent, rolled back and unverified are all failures. What is
reported of them is in reports.py.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homeport.fleet.plugins.module_utils.visible import visible

REFUSALS = {5: "REFUSED", 6: "LOCKED"}
"""Exit codes of an agent that answered and changed nothing."""
KEY = ("homeport_row", "homeport_site", "homeport_embodiment")
PEM_HEAD = "-----BEGIN PUBLIC KEY-----"
PEM_TAIL = "-----END PUBLIC KEY-----"


def plan(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], percentages: Iterable[float] = (100,)
) -> dict[str, Any]:
    """Waves: first one robot of every row × site × embodiment, then the rest up to each percentage in turn.

    Returns `order` (all hosts), `sizes` (for `serial`, no zeros) and `waves` (lists of hosts). The same fleet gives the
    same plan.
    """
    steps = list(percentages)
    if not steps or steps != sorted(set(steps)) or steps[0] <= 0 or steps[-1] != 100:
        raise AnsibleFilterError(f"homeport_percentages: expected rising numbers that end with 100, got {steps}")
    names = sorted(set(hosts))
    if not names:
        raise AnsibleFilterError("homeport_hosts: no robot matches; name a host or group of the inventory")
    kinds: dict[tuple[str, ...], str] = {}
    for name in names:
        kinds.setdefault(tuple(str(hostvars[name].get(key) or "") for key in KEY), name)
    canaries = sorted(kinds.values())
    rest = [name for name in names if name not in canaries]
    ends = [-(-len(rest) * step // 100) for step in steps]
    parts = [rest[int(start) : int(end)] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    waves = [canaries, *(part for part in parts if part)]
    return {"order": [name for wave in waves for name in wave], "sizes": [len(wave) for wave in waves], "waves": waves}


def failure_of(result: Mapping[str, Any] | None, release: str) -> dict[str, Any] | None:
    """Why a registered result is no proof (in check mode: no prediction), or None when it is one."""
    if result is not None and (result.get("verified") is True or result.get("predicted") is True):
        return None
    result = result or {}
    # Of ssh's words some are lines of their own, and a robot has one line in a table.
    words = str(result.get("msg") or "the robot gave no proof of what it runs").split()
    message = visible(" ".join(words))
    found = {"release": release, "stage": "UNVERIFIED", "metric": None, "value": None, "threshold": None}
    if result.get("unreachable"):
        found |= {"stage": "UNREACHABLE", "metric": "unreachable"}
        message = f"out of reach ({message}); see whether it is on and answers ssh"
    elif result.get("silent"):
        found |= {"stage": "SILENT", "metric": "silent"}
    elif result.get("skipped"):
        found["stage"] = "SKIPPED"
        message = "the robot was not asked"
    elif (refusal := REFUSALS.get(result.get("code") or 0)) is not None:
        found |= {"stage": refusal, "metric": refusal.lower()}
    return found | dict(result.get("failure") or {}) | {"message": message}


def verdict(
    earlier: Mapping[str, Any],
    wave: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    register: str,
    release: str,
    canaries: Iterable[str],
    max_failed: int = 0,
) -> dict[str, Any]:
    """Compare the planned `wave` with the results its hosts registered as `register`, on top of an `earlier` verdict.

    Returns `halted`, `failed` (host → failure, over the whole run) and `passed` (of this wave).
    A failed canary always halts.
    """
    asked = [host for host in wave if host not in earlier["failed"]]
    found = {host: failure_of(hostvars[host].get(register), release) for host in asked}
    failed = dict(earlier["failed"]) | {host: failure for host, failure in found.items() if failure}
    halted = earlier["halted"] or len(failed) > int(max_failed) or not set(canaries).isdisjoint(failed)
    return {"halted": bool(halted), "failed": failed, "passed": [host for host in asked if not found[host]]}


def undo_target(result: Mapping[str, Any]) -> str | None:
    """Where a host goes back to after this result of `switched`: the release it ran before, or None when it is not to
    be touched.

    A silent robot may have switched before it fell silent, so it is asked too; one that refused or was skipped is not.
    """
    stands = result.get("before") is None and result.get("running") is None and not result.get("silent")
    if not result.get("touched") or stands:
        return None
    return result.get("before") or "previous"


def key_name(pem: str) -> str:
    """The sha256 of a public key's SPKI as 64 hex characters, which is the name it is trusted by."""
    body = pem.strip()
    if not body.startswith(PEM_HEAD) or not body.endswith(PEM_TAIL) or body.count("-----BEGIN") != 1:
        raise AnsibleFilterError("homeport_public_keys: expected one PEM public key per file, never a private key")
    try:
        der = base64.b64decode("".join(body[len(PEM_HEAD) : -len(PEM_TAIL)].split()), validate=True)
    except ValueError as error:
        raise AnsibleFilterError(f"homeport_public_keys: the PEM file is damaged ({error})") from error
    return hashlib.sha256(der).hexdigest()


class FilterModule:
    """What the playbooks see."""

    def filters(self) -> dict[str, Any]:
        return {
            "homeport_waves": plan,
            "homeport_verdict": verdict,
            "homeport_undo": undo_target,
            "homeport_key_name": key_name,
        }
