"""`release pull` and `model pull` from a plain folder: SOURCE is `oci:DIR` with `releases/<hex>` and `models/<hex>`."""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("release", "model"))
    parser.add_argument("verb", choices=("pull",))
    parser.add_argument("what")
    for name in ("source", "to"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("repository", "row-arch", "keys", "robot"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    source, target = Path(arguments.source.removeprefix("oci:")), Path(arguments.to)
    name = arguments.what.rpartition("sha256:")[2]
    if (source / "slow").exists():
        (source / "slow").rename(source / "slow.seen")
        while not (source / "go").exists():
            time.sleep(0.02)
    origin = source / f"{arguments.kind}s" / name
    if not origin.exists():
        print(f"error: {arguments.what}: not found in {arguments.source}; was it pushed?", file=sys.stderr)
        return 1
    if arguments.kind == "model":
        target = target / name
    fetched = 0
    if not target.exists():
        shutil.copytree(origin, target)
        fetched = sum(path.stat().st_size for path in target.iterdir())
    print("Pulling.", file=sys.stderr)
    sizes = json.loads((source / "sizes.json").read_text()) if (source / "sizes.json").exists() else {}
    print(
        json.dumps({"release": arguments.what, "bytes_fetched": fetched, "image_bytes": 0, "model_bytes": 0, **sizes})
    )
    return 0


sys.exit(main())
