"""The table of what ONNX Runtime reads is true of the version that is installed, and names the oldest one of robots."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

from model_registry.inspection.runtime import CONTRIBUTED, FIRST_IR, FIRST_OPSET, OLDEST, READS, WITHOUT_KERNEL

ROOT = Path(__file__).parents[3]
NODES = {"": ("Relu", {}), "ai.onnx.ml": ("Normalizer", {"norm": "MAX"}), "com.microsoft": ("Gelu", {})}


def opens(domain: str, opset: int, ir_version: int = 8) -> bool:
    """Whether the installed ONNX Runtime opens a graph of one node."""
    op, attributes = NODES[domain]
    node = helper.make_node(op, ["a"], ["b"], domain=domain, **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "ab"]
    imports = [helper.make_opsetid("", 17)] if domain else []
    graph = helper.make_graph([node], "one", ends[:1], ends[1:])
    model = helper.make_model(
        graph, opset_imports=[*imports, helper.make_opsetid(domain, opset)], ir_version=ir_version
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented):
        return False
    return True


def kernels(domain: str) -> set[str]:
    found = state.get_all_opkernel_def()
    return {each.op_name for each in found if each.domain == domain and each.provider == "CPUExecutionProvider"}


def test_every_version_that_is_locked_is_in_the_table_and_the_oldest_decides() -> None:
    text = "".join(path.read_text() for path in (ROOT / "requirements").glob("*.txt"))
    locked = set(re.findall(r"^onnxruntime==([\d.]+)", text, re.MULTILINE))
    lock = json.loads((ROOT / "images/lock.json").read_text())
    locked |= set(re.findall(r'"name": "onnxruntime", "version": "([\d.]+)"', json.dumps(lock)))
    assert locked == set(READS)
    assert min(locked, key=lambda version: [int(part) for part in version.split(".")]) == OLDEST


@pytest.mark.parametrize("domain", NODES)
def test_the_table_is_true_of_the_installed_version(domain: str) -> None:
    reads = READS[onnxruntime.__version__]
    last = reads.opsets[domain]
    assert opens(domain, last) and not opens(domain, last + 1)
    assert opens(domain, FIRST_OPSET if domain == "" else 1)
    assert opens("", 17, FIRST_IR) and opens("", 17, reads.ir_version) and not opens("", 17, reads.ir_version + 1)


def test_what_the_oldest_version_reads_newer_ones_read_too() -> None:
    for reads in READS.values():
        assert reads.ir_version >= READS[OLDEST].ir_version
        assert all(reads.opsets[domain] >= opset for domain, opset in READS[OLDEST].opsets.items())
    assert kernels("com.microsoft") >= CONTRIBUTED
    if onnxruntime.__version__ == OLDEST:
        assert kernels("com.microsoft") == CONTRIBUTED
        assert not kernels("") & WITHOUT_KERNEL
