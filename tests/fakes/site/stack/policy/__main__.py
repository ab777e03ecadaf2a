"""A slot that writes status.json as a policy would. `behaviour.json` beside this file says what goes wrong."""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

BEHAVIOUR = Path(__file__).with_name("behaviour.json")
ACTIONS_PER_S = 200
LIFE_S = 600.0  # a slot outlives its agent, and must not outlive a test run that was killed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", required=True)
    parser.add_argument("--root", type=Path, required=True)
    arguments = parser.parse_args()
    behaviour = json.loads(BEHAVIOUR.read_text()) if BEHAVIOUR.exists() else {}
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run = f"/tmp/homeport-{os.getuid()}-{hashlib.sha256(str(arguments.root).encode()).hexdigest()[:10]}"
    target = Path(run) / f"slot-{arguments.slot}" / "status.json"
    release = (arguments.root / "slots" / arguments.slot).readlink().name
    loaded = load(arguments.root / "releases" / release)
    if behaviour.get("alone") and lives(Path(run) / f"slot-{'b' if arguments.slot == 'a' else 'a'}.process.json"):
        print("error: the other slot still has its memory", file=sys.stderr, flush=True)
        sys.exit(1)
    print(f"policy of {release[:12]} starts in slot {arguments.slot}", flush=True)
    for number in range(behaviour.get("chatter", 0)):
        print(f"chatter {number}", flush=True)
    began = time.monotonic()
    if Path(behaviour.get("dies_beside", "/nowhere")).exists():
        sys.exit("error: the camera driver is another one")
    while not stop.wait(0.05) and (lived := time.monotonic() - began) < LIFE_S:
        if lived > behaviour.get("die_after_s", float("inf")):
            print("error: the model exploded", file=sys.stderr, flush=True)
            sys.exit(1)
        if Path(behaviour.get("silent_file", "/nowhere")).exists():
            continue
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps(status(arguments.slot, loaded, lived, behaviour)))
        temporary.replace(target)


def lives(note: Path) -> bool:
    """Whether the process that the agent has noted for a slot runs."""
    try:
        stat = Path(f"/proc/{json.loads(note.read_text())['pid']}/stat").read_text()
    except (OSError, ValueError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def load(folder: Path) -> dict:
    """What the slot runs, read once as a policy does: its release may be deleted while it lives."""
    return {
        "release": f"sha256:{folder.name}",
        "model": f"sha256:{(folder / 'model').readlink().name}",
        "image": next(iter(json.loads((folder / "release.json").read_bytes())["images"].values()))["digest"],
        "engine": (folder / "engine").readlink().name,
    }


def status(slot: str, loaded: dict, lived: float, behaviour: dict) -> dict:
    ready = lived > behaviour.get("ready_after_s", 0.2)
    failed = Path(behaviour.get("fail_file", "/nowhere")).exists()
    broken = lived > behaviour.get("non_finite_after_s", float("inf"))
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    source = {"needed": True, "age_ms": 20.0, "received": 5, "rejected": 0, "fault": None, "error": None, "valid": None}
    camera = source | behaviour.get("camera_front", {})
    return {
        "schema": 1,
        "slot": slot,
        "pid": os.getpid(),
        "start_ticks": int(fields[19]),
        "epoch": os.getpid(),
        **loaded,
        "state": "failed" if failed else "ready" if ready else "starting",
        "error": "out of memory" if failed else None,
        "profile": "resource_optimized",
        "backend": "null",
        "precision": "fp32",
        "degraded": False,
        "control_hz": 20.0,
        "actions": int(lived * ACTIONS_PER_S) if ready else 0,
        "inferences": int(lived * 10),
        "inference_p50_ms": behaviour.get("p99_ms", 2.0) / 2,
        "inference_p99_ms": behaviour.get("p99_ms", 2.0),
        "overhead_p50_ms": 0.2,
        "overhead_p99_ms": 0.4,
        "overhead_counts": [],
        "prepared_p50_ms": None,
        "delay_steps": 1,
        "gap_free": True,
        "rung": "full",
        "advisory": None,
        "missed": int(lived * behaviour.get("missed_per_s", 0)),
        "late": 0,
        "late_p99_ms": 0.2,
        "late_counts": [],
        "empty": 0,
        "struggling": False,
        "slow": 0,
        "non_finite": int(broken),
        "clamped": 0,
        "void_reason": behaviour.get("void_reason"),
        "sources": {"camera_front": camera, "scan": source, "command": source | {"needed": False}},
        "memory_bytes": behaviour.get("memory_bytes", 1 << 20),
        "machine": {"temperature_c": 50.0, "throttled": 0.0, "pressure_percent": None},
        "monotonic_ns": time.monotonic_ns(),
    }


if __name__ == "__main__":
    main()
