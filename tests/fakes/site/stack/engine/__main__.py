"""`engine build` for tests: the engine is a few bytes, the gate says what `behaviour.json` wants."""

import argparse
import json
import sys
from pathlib import Path

BEHAVIOUR = Path(__file__).parents[1] / "policy" / "behaviour.json"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("build",))
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--json", action="store_true", required=True)
    arguments = parser.parse_args()
    behaviour = json.loads(BEHAVIOUR.read_text()) if BEHAVIOUR.exists() else {}
    if "build_error" in behaviour:
        print(f"error: {behaviour['build_error']}", file=sys.stderr)
        return int(behaviour.get("build_code", 1))
    key = behaviour.get("key", (arguments.release / "model").readlink().name)
    folder = arguments.root / "engines" / key
    built = not (folder / "ready").exists()
    folder.mkdir(exist_ok=True)
    (folder / "ready").touch()
    error = behaviour.get("parity", 0.0)
    check = {"metric": "parity", "value": error, "threshold": 0.01, "ok": error <= 0.01, "text": f"off by {error}"}
    verdict = "healthy" if check["ok"] else "unhealthy"
    used = behaviour.get("peak_memory_bytes", 64 << 20)
    peak = {"metric": "peak_memory_bytes", "value": used, "threshold": 8 << 50, "ok": True, "text": f"{used} bytes"}
    gate = {"schema": 1, "gate": "prove", "verdict": verdict, "checks": [check, peak]}
    for _ in range(behaviour.get("progress", 1)):
        print("Building.", file=sys.stderr)
    print(json.dumps({"key": key, "built": built, "seconds": 0.1, "bytes": 7, "gate": gate}))
    return 0 if check["ok"] else 1


sys.exit(main())
