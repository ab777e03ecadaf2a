#!/usr/bin/python
# ruff: noqa: E402
"""The record of one run of a playbook, on the controller: a file of its own that no other run writes, whole at every
moment.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: homeport_record
short_description: Write down what a run of a playbook was asked and what came of it
version_added: 0.2.0
author: The Homeport authors
description:
  - Runs on the controller.
  - A record is begun before anything is done, so that a run whose controller was killed is in the history too.
  - A record that cannot be written is a warning and stops no run. Check mode writes none.
  - C(homeport fleet history) lists the records; docs/schemas/rollout.schema.json describes them.
options:
  state:
    description: V(begun) makes a new file, V(ended) completes it.
    type: str
    choices: [begun, ended]
    required: true
  kind: {type: str, choices: [deploy, rollback, status], description: Which playbook runs.}
  folder:
    type: path
    description: Where records are. Default is C(rollouts) beside the inventory; an empty one writes none.
  inventory:
    type: list
    elements: str
    default: []
    description: Inventories of this run, as they were given to Ansible.
  asked: {type: dict, description: "What was asked for, such as the release, the robots and the limit."}
  record: {type: path, description: The file that V(begun) returned.}
  outcome: {type: dict, description: The report of the run.}
attributes:
  check_mode: {description: Writes nothing., support: full}
  diff_mode: {description: Shows nothing., support: none}
"""

EXAMPLES = r"""
- name: Begin the record of this run
  homeport.fleet.homeport_record: {state: begun, kind: deploy, inventory: [fleet], asked: {limit: bay-1}}
  register: homeport_run
  run_once: true
  delegate_to: localhost

- name: End the record of this run
  homeport.fleet.homeport_record:
    state: ended
    record: "{{ homeport_run.record }}"
    outcome: {summary: 3 of 3 robots are as wanted.}
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
record: {type: str, returned: always, description: "The file; empty when none is written."}
by: {type: str, returned: always, description: "Who runs this, as C(user@host)."}
"""

import getpass
import json
import os
import socket
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homeport.fleet.plugins.module_utils.visible import visible

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "required": True, "choices": ["begun", "ended"]},
    "kind": {"type": "str", "choices": ["deploy", "rollback", "status"]},
    "folder": {"type": "path"},
    "inventory": {"type": "list", "elements": "str", "default": []},
    "asked": {"type": "dict"},
    "record": {"type": "path"},
    "outcome": {"type": "dict"},
}
_DIGEST = "sha256:"


def caller() -> dict[str, str]:
    """Who runs this: the person behind sudo where there is one, the machine, and the folder."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # an id without a name
        user = f"uid {os.getuid()}"
    return {"user": user, "host": socket.gethostname(), "folder": os.environ.get("PWD") or str(Path.cwd())}


def folder_of(given: str | None, inventory: list[str]) -> Path | None:
    """Where records are: the folder that was given, else `rollouts` beside the first inventory, a file or a folder;
    None for no records.
    """
    if given is not None:
        return Path(given) if given else None
    first = next((path for path in map(Path, inventory) if path.exists()), None)
    return None if first is None else first.absolute().parent / "rollouts"


def replace(path: Path, record: dict[str, Any]) -> None:
    """Write a record in one step: temporary file, fsync, rename, fsync of the folder. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """What was done in a folder is on disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def claim(folder: Path, stem: str) -> Path:
    """A new, empty file that no other run has; two runs of one second have a number each. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            number += 1
        else:
            return path


def begin(parameters: dict[str, Any], folder: Path, who: dict[str, str], now: datetime) -> Path:
    """The file of a run that begins now. Raises OSError."""
    asked = parameters["asked"] or {}
    release = str(asked.get("release") or asked.get("to") or "")
    name = release.partition(_DIGEST)[2][:12] if release.startswith(_DIGEST) else release
    stem = "-".join(part for part in (now.strftime("%Y%m%dT%H%M%SZ"), parameters["kind"], name) if part.isalnum())
    path = claim(folder, stem)
    fields = {"schema": 1, "kind": parameters["kind"], "who": who, "asked": asked, "inventory": parameters["inventory"]}
    replace(path, {**fields, "began": now.isoformat(timespec="seconds"), "ended": None, "outcome": None})
    return path


def end(path: Path, outcome: dict[str, Any], now: datetime) -> None:
    """Complete the record of this run. Raises OSError, and ValueError when it was damaged meanwhile."""
    record = json.loads(path.read_text(encoding="utf-8"))
    replace(path, {**record, "ended": now.isoformat(timespec="seconds"), "outcome": outcome})


def main() -> None:
    needs = [("state", "begun", ["kind"]), ("state", "ended", ["record", "outcome"])]
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_if=needs)
    parameters = module.params
    who = caller()
    now = datetime.now(timezone.utc)
    answer = {"changed": False, "record": parameters["record"] or "", "by": f"{who['user']}@{who['host']}"}
    folder = folder_of(parameters["folder"], parameters["inventory"])
    try:
        if parameters["state"] == "ended" and not module.check_mode:
            end(Path(parameters["record"]), parameters["outcome"], now)
        elif parameters["state"] == "begun" and folder is not None and not module.check_mode:
            answer["record"] = str(begin(parameters, folder, who, now))
    except (OSError, ValueError) as error:
        module.warn(visible(f"this run is in no history: {error}"))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
