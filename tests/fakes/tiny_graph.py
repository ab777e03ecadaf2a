"""How `tiny.onnx` was made; needs the extra `train`: `python tests/fakes/tiny_graph.py tests/fakes/tiny.onnx`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def graph() -> onnx.GraphProto:
    """Mean colour, mean token and mean distance [1, 5] through a matrix, plus (1.0, 0.2) for each of 8 steps."""
    rng = np.random.default_rng(7)
    weights = (rng.standard_normal((5, 16)) * 0.05).astype(np.float32)
    bias = np.tile(np.array([1.0, 0.2], np.float32), 8)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["gap"]),
        helper.make_node("Flatten", ["gap"], ["pix"]),
        helper.make_node("Cast", ["tokens"], ["tf"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["tf", "ax"], ["tm"], keepdims=1),
        helper.make_node("ReduceMean", ["lidar", "ax"], ["lm"], keepdims=1),
        helper.make_node("Concat", ["pix", "tm", "lm"], ["all"], axis=1),
        helper.make_node("Gemm", ["all", "w", "b"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["action"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 112, 112]),
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, 10]),
        helper.make_tensor_value_info("lidar", TensorProto.FLOAT, [1, 90]),
    ]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, [1, 8, 2])]
    constants = {"w": weights, "b": bias, "ax": np.array([1], np.int64), "shape": np.array([1, 8, 2], np.int64)}
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_graph(nodes, "tiny", inputs, outputs, tensors)


if __name__ == "__main__":
    model = helper.make_model(graph(), opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    Path(sys.argv[1]).write_bytes(model.SerializeToString())
