"""A million spoiled documents, in parts that share nothing but the machine, and what the worst document costs.

Each part is a program of its own (subprocess), so that its memory can be told: some 90 s of one core for all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PARTS, DOCUMENTS = 10, 100_000
MOST_MB = 64
WORST = {
    "empty lists": "b'[' + b'[],' * 1_398_000 + b'0]'",
    "empty objects": "b'[' + b'{},' * 1_398_000 + b'0]'",
    "as many objects as are read": "b'{\"a\":[' + b'{\"ab\":0},' * 36_000 + b'0],\"b\":\"' + b'x' * 3_800_000 + b'\"}'",
    "as many keys as are read": "b'{' + b','.join(b'\"%06d\":\"%06d\"' % (i, i) for i in range(75_000)) + b'}'",
    "wide letters": "b'{\"a\":\"' + '\U0001f600'.encode() + b'x' * 4_190_000 + b'\"}'",
    "short texts": "b'[' + b'\"ab\",' * 838_000 + b'0]'",
}
READ = """
import sys
sys.path.insert(0, sys.argv[1])
from model_registry.core.errors import UsageError
from model_registry.manifests import Manifest
import model_registry.sources.registry
data = {data}
try:
    Manifest.parse(data, "manifest")
except UsageError:
    print(next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("part", range(PARTS))
def test_only_errors_of_ours_come_out_of_a_million_documents(part: int) -> None:
    argv = [sys.executable, "-m", "tests.testbed.fuzz", str(part + 1), str(DOCUMENTS)]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, timeout=340)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["documents"] == DOCUMENTS and found["foreign"] == [] and found["unseen"] == []
    assert found["grown_mb"] <= MOST_MB // 2


@pytest.mark.parametrize("worst", WORST)
def test_a_hostile_manifest_of_four_mebibytes_costs_at_most_64_mb(worst: str) -> None:
    argv = [sys.executable, "-c", READ.format(data=WORST[worst]), str(TOP)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and 0 < int(done.stdout) <= MOST_MB, (done.stdout, done.stderr)
