#!/usr/bin/python
# ruff: noqa: E402
"""One change of one robot through its agent, proved by asking the agent again: what was seen running counts, never what
was accepted.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: homeport_release
short_description: Stage, switch, commit or roll back a release on one robot
version_added: 0.1.0
author: The Homeport authors
description:
  - Calls C(homeport-agent).
  - Success means that the robot was seen in the wanted state, never that a command was accepted.
options:
  state:
    description:
      - V(staged) fetches, verifies, builds and proves a release while the old one serves.
      - V(switched) lets the staged release drive, in probation.
      - V(committed) makes the release in probation the one that starts after a power cut.
      - V(rolled_back) goes back to O(to).
      - V(held) commands zero speed, V(drained) also waits until the robot stands.
      - V(pruned) removes what the robot needs no more.
      - V(status) reads and changes nothing, V(doctor) also looks whether the robot is set up as releases need it.
    type: str
    choices: [staged, switched, committed, rolled_back, held, drained, pruned, status, doctor]
    required: true
  release: {type: str, description: "Digest of the release, V(sha256:) and 64 hex characters. A tag is refused."}
  source: {type: str, description: Where the release comes from. Default is the source in the robot's C(agent.toml).}
  repository:
    type: str
    description: Repository of the release in the source. Default is the one in the robot's C(agent.toml).
  root: {type: path, description: Folder that holds everything of this robot. Default are the system's folders.}
  agent: {type: path, default: /usr/local/bin/homeport-agent, description: Path of the agent on the robot.}
  commit:
    description: With V(wait) the robot rolls back by itself when no commit arrives before O(deadline_s).
    type: str
    choices: [auto, wait]
    default: auto
  deadline_s:
    description: Seconds in which the switch, and with O(commit=wait) the commit, has to happen.
    type: float
    default: 300
  probation_s: {type: float, description: Seconds of probation. Default is the value in the robot's C(agent.toml).}
  gate: {type: str, choices: [idle, moving], default: idle, description: What the robot has to be before it changes.}
  now:
    description: Wait for no maintenance window and ask no hook of the site; zero speed is commanded first.
    type: bool
    default: false
  to: {type: str, default: previous, description: "Target of a rollback, V(previous), V(fallback) or a digest."}
  undo:
    description:
      - With V(rolled_back), C(previous) is afterwards what it was before the release that drives was committed.
    type: bool
    default: false
  by: {type: str, description: "Who asks, such as C(ann@control). Others who find the robot locked are told."}
  channel_record:
    type: str
    description: A signed channel record as it stands. V(staged) keeps on the robot what it revokes.
  retry: {type: bool, default: false, description: Stage a release that failed on this robot before.}
  reason: {type: str, default: held by the fleet, description: Why the robot is held.}
  timeout_s: {type: float, default: 600, description: Seconds after which a silent agent counts as failed.}
attributes:
  check_mode: {description: Reports what would change and only reads the robot., support: full}
  diff_mode: {description: Shows the release that runs and the one that is wanted., support: full}
"""

EXAMPLES = r"""
- name: Stage a release
  homeport.fleet.homeport_release:
    state: staged
    release: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    source: https://registry.example.org
    repository: releases/pilot

- name: Go back to the release before
  homeport.fleet.homeport_release: {state: rolled_back}
"""

RETURN = r"""
result:
  type: dict
  returned: when the agent was asked to act
  description: The agent's own answer, as in docs/schemas/agent.schema.json.
status: {type: dict, returned: when the robot answered, description: The robot's status after the call.}
before: {type: str, returned: always, description: "Digest of the release that ran before, or null."}
running: {type: str, returned: always, description: "Digest of the release that was seen running afterwards, or null."}
verified:
  type: bool
  returned: always
  description: Whether the wanted state was seen in the status. Never true in check mode.
predicted: {type: bool, returned: on success, description: Whether this answer is a prediction of check mode.}
found:
  description:
    - Which deployment had decided last what drives, before this call, with its failure; null when there was none.
  returned: when the robot answered
  type: dict
touched:
  description: Whether the robot may have driven, or still drives, by another release because of this call.
  returned: always
  type: bool
code: {type: int, returned: on failure, description: The agent's exit code; 1 when it gave none.}
failure:
  description: Release, stage, metric, value, threshold and message of what went wrong.
  returned: on failure, when the agent named it
  type: dict
silent:
  type: bool
  returned: on failure
  description: Whether the agent was stopped because it did not answer in time.
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homeport.fleet.plugins.module_utils.agent import DIGEST, Agent, AgentError, argv

STATES = ["staged", "switched", "committed", "rolled_back", "held", "drained", "pruned", "status", "doctor"]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "required": True, "choices": STATES},
    "release": {"type": "str"},
    "source": {"type": "str"},
    "repository": {"type": "str"},
    "root": {"type": "path"},
    "agent": {"type": "path", "default": "/usr/local/bin/homeport-agent"},
    "commit": {"type": "str", "choices": ["auto", "wait"], "default": "auto"},
    "deadline_s": {"type": "float", "default": 300},
    "probation_s": {"type": "float"},
    "gate": {"type": "str", "choices": ["idle", "moving"], "default": "idle"},
    "now": {"type": "bool", "default": False},
    "to": {"type": "str", "default": "previous"},
    "undo": {"type": "bool", "default": False},
    "by": {"type": "str"},
    "channel_record": {"type": "str"},
    "retry": {"type": "bool", "default": False},
    "reason": {"type": "str", "default": "held by the fleet"},
    "timeout_s": {"type": "float", "default": 600},
}
NEEDS_RELEASE = [("state", name, ["release"]) for name in STATES[:3]]
DRIVES = ("switched", "committed", "rolled_back")
# The agent promises that an answer with one of these codes has changed nothing: usage, refused, locked.
UNTOUCHED_CODES = (2, 5, 6)
# What a verdict and a report need of the status of a robot that failed; Ansible prints all of a failed task.
TOLD = ("stage", "running", "current", "previous", "staged", "healthy", "problems", "quarantined", "last", "failure")
# A failure in one of these stages came before the new release drove.
EARLY_STAGES = ("CLAIM", "PREFLIGHT", "FETCH", "VERIFY", "STAGE", "BUILD", "PROVE", "READY", "WAIT")


def digest_of(release: dict[str, Any] | None) -> str | None:
    """The digest in a release summary of the status, or None."""
    return str(release["digest"]) if release else None


def found(status: dict[str, Any]) -> dict[str, Any] | None:
    """The deployment that decided last what drives, with its failure: the end of the robot's journal."""
    last: dict[str, Any] | None = status.get("last")
    return last and last | {"failure": status.get("failure")}


def target_of(parameters: dict[str, Any], before: dict[str, Any]) -> str | None:
    """The wanted digest, as far as the status before the call tells: what runs, unless something else is asked for."""
    if parameters["state"] != "rolled_back":
        wanted: str | None = parameters["release"]
        return wanted or digest_of(before["running"])
    if DIGEST.fullmatch(parameters["to"]):
        return str(parameters["to"])
    in_trial = parameters["to"] == "previous" and before["stage"] == "PROBATION"
    return digest_of(before["current" if in_trial else parameters["to"]])


def is_verified(parameters: dict[str, Any], status: dict[str, Any], result: dict[str, Any]) -> bool:
    """Whether `status` shows what was asked for: proof is what was seen running."""
    state = parameters["state"]
    release = parameters["release"]
    running = digest_of(status["running"])
    current = digest_of(status["current"])
    proven = {slot["release"] for slot in status["slots"].values() if slot and slot["verified"]}
    if state == "staged":
        return release in status["staged"] or release == running
    if state == "switched":
        return running == release and release in proven
    if state == "committed":
        return running == current == release and release in proven
    if state == "rolled_back":
        target = parameters["to"] if DIGEST.fullmatch(parameters["to"]) else result.get("release")
        # A robot whose first release failed has nothing to go back to: it stands still, and that is what was asked for.
        return running == current == target and (running is None or running in proven)
    return True


def predict(agent: Agent, parameters: dict[str, Any], before: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """What check mode answers: the agent's own plan for staging and pruning, the status for everything else."""
    if parameters["state"] == "staged":
        result = agent.call(argv(parameters, dry_run=True))
        return bool(result["plan"]["steps"]), result
    if parameters["state"] == "pruned":
        result = agent.call(argv(parameters, dry_run=True))
        return bool(result["removed"]), result
    seen = "current" if parameters["state"] == "committed" else "running"
    return parameters["state"] in ("held", "drained") or target_of(parameters, before) != digest_of(before[seen]), {}


def act(module: AnsibleModule, agent: Agent, before: dict[str, Any]) -> dict[str, Any]:
    """Call the agent and prove the outcome; returns the module's answer. Raises AgentError."""
    parameters = module.params
    old = digest_of(before["running"])
    result: dict[str, Any] = {}
    after = before
    changed = False
    if parameters["state"] != "status" and module.check_mode:
        changed, result = predict(agent, parameters, before)
    elif parameters["state"] != "status":
        result = agent.call(argv(parameters))
        changed = bool(result["changed"])
        after = agent.call(["status"])
        if not is_verified(parameters, after, result):
            seen = f"the robot is in {after['stage']} with {digest_of(after['running'])} running"
            raise AgentError(f"the agent said yes to {parameters['state']}, but {seen}", result=result)
    return {
        "changed": changed,
        "result": result,
        "status": after,
        "before": old,
        "found": found(before),
        "running": digest_of(after["running"]),
        "verified": not module.check_mode,
        "predicted": module.check_mode,
        "touched": changed and not module.check_mode and parameters["state"] in DRIVES,
        "failure": None,
        "diff": {"before": f"{old}\n", "after": f"{target_of(parameters, before)}\n"},
    }


def fail(module: AnsibleModule, agent: Agent, error: AgentError, before: dict[str, Any] | None) -> None:
    """End with the agent's error and everything a verdict needs."""
    status = None
    # Asking a silent agent again would only be silent again.
    if before is not None and not error.silent:
        try:
            status = agent.call(["status"])
        except AgentError as second:
            module.warn(f"the status could not be read afterwards: {second}")
    failure = error.result.get("failure")
    message = str(error)
    if failure and failure.get("value") is not None:
        measured = f"{failure['metric']} {failure['value']:g}, threshold {failure['threshold']}"
        message += f" (stage {failure['stage']}: {measured})"
    acted = before is not None and module.params["state"] in DRIVES and not module.check_mode
    touched = failure["stage"] not in EARLY_STAGES if failure else error.code not in UNTOUCHED_CODES
    module.fail_json(
        msg=message,
        code=error.code,
        silent=error.silent,
        failure=failure,
        result=error.result,
        status=status and {name: status[name] for name in TOLD if name in status},
        before=before and digest_of(before.get("running")),
        found=before and found(before),
        running=status and digest_of(status.get("running")),
        verified=False,
        touched=acted and touched,
        changed=bool(error.result.get("changed", False)),
    )


def refuse_tags(module: AnsibleModule) -> None:
    """Fail before anything is run when something else stands where a digest belongs."""
    for name, others in (("release", (None,)), ("to", ("previous", "fallback"))):
        value = module.params[name]
        if value not in others and not DIGEST.fullmatch(value):
            expected = f"expected sha256: and 64 hex characters, got {value[:80]!r}; give the digest, not a tag"
            module.fail_json(msg=f"{name}: {expected}", code=2, verified=False, touched=False)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_if=NEEDS_RELEASE)
    refuse_tags(module)
    agent = Agent(module.params)
    before = None
    try:
        if module.params["state"] == "doctor":  # which needs no agent that serves
            findings = agent.call(argv(module.params))
            module.exit_json(changed=False, result=findings, verified=True, touched=False)
        before = agent.call(["status"])
        module.exit_json(**act(module, agent, before))
    except AgentError as error:
        fail(module, agent, error, before)
    except (KeyError, TypeError) as error:
        differ = f"the agent's answer lacks {error}; agent and collection differ in version, run bootstrap.yml"
        fail(module, agent, AgentError(differ, silent=True), before)


if __name__ == "__main__":
    main()
