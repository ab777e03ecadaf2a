"""int8 by static quantisation: scales from the model's calibration data, written into the graph as QuantizeLinear and
DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from stack.engine.observing import Tensor


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Iterable[Mapping[str, Tensor]]) -> None:
        self._left: Iterator[Mapping[str, Tensor]] = iter(samples)

    def get_next(self) -> dict[str, Tensor] | None:
        sample = next(self._left, None)
        return None if sample is None else dict(sample)


def quantize(
    graph: Path,
    samples: Iterable[Mapping[str, Tensor]],
    target: Path,
    *,
    symmetric: bool,
    narrow: bool = False,
    apart: bool = False,
) -> onnx.ModelProto:
    """The same bytes for the same graph and samples.

    `symmetric`: zero points of zero and float biases, as TensorRT requires.

    `narrow`: weights of seven bits, for processors that add products of eight bits up in sixteen (`machine.saturates`).

    `apart`: the weights are in a file beside it, and beside what is written on the way.
    """
    activations = QuantType.QInt8 if symmetric else QuantType.QUInt8
    quantize_static(
        graph,
        target,
        _Samples(samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=narrow,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        use_external_data_format=apart,
        extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": not symmetric},
    )
    return onnx.load(target)
