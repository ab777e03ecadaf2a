"""A release.toml, a wheel and a key for tests that publish a release."""

from __future__ import annotations

import zipfile
from pathlib import Path

from model_registry import keys

TOML = """
name = "pilot"
version = "{version}"
counter = {counter}
minimum_counter = 0
[model]
ref = "models/pilot:1.0.0"
[engine]
backends = ["onnxruntime"]
precision = "{precision}"
budget = {{ inference_p99_ms = {p99}, peak_memory_bytes = 400000000 }}
[config]
profile = "resource_optimized"
overrides = {{ max_speed = 0.3 }}
[compatibility]
rows = ["process"]
l4t = []
embodiment = "{embodiment}"
supervisor_protocol = 1
minimum_agent = "0.1.0"
[[image]]
row_arch = "process/amd64"
wheel = "stack.whl"
lock = "robot.txt"
"""


def make_recipe(folder: Path, **changes: object) -> Path:
    """Write release.toml, stack.whl and robot.txt into `folder`; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "stack.whl", "w") as wheel:
        wheel.writestr(zipfile.ZipInfo("stack/__init__.py"), "")
    (folder / "robot.txt").write_text("numpy==2.1\n")
    fields = {"version": "1.0.0", "counter": 1, "precision": "fp32", "p99": 40.0, "embodiment": "diff_drive", **changes}
    (folder / "release.toml").write_text(TOML.format(**fields))
    return folder / "release.toml"


def make_key(folder: Path, name: str = "test") -> Path:
    """A key pair in a folder of its own; the path of the private key."""
    private, _ = keys.generate(folder, name)
    return private
