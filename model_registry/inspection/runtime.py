"""What the oldest ONNX Runtime on robots reads, held against a graph.

A release's program has ONNX Runtime in the version that requirements/*.txt and images/lock.json lock. The oldest of
them decides: 1.23.2, the last one for Python 3.10, which JetPack 6 has.

    version   ai.onnx   ai.onnx.ml   com.microsoft   IR version
    1.23.2    7 to 23   1 to 5       1               3 to 11
    1.32.0    7 to 28   1 to 5       1               3 to 14

Sources: a graph of one node for each number, opened by each of these versions (a test opens them with the version that
is installed), and docs/Versioning.md of microsoft/onnxruntime, which promises opset 7 and later. The operators of
com.microsoft are those for which 1.23.2 lists a kernel on the CPU; of ai.onnx it lists all but two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from model_registry.core.onnx_parts import label, nodes
from model_registry.inspection.findings import Findings

STANDARD = ""
MACHINE_LEARNING = "ai.onnx.ml"
MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Reads:
    """The highest numbers that a version of ONNX Runtime reads; `opsets` by domain."""

    opsets: dict[str, int]
    ir_version: int


READS = {
    "1.23.2": Reads({STANDARD: 23, MACHINE_LEARNING: 5, MICROSOFT: 1}, 11),
    "1.32.0": Reads({STANDARD: 28, MACHINE_LEARNING: 5, MICROSOFT: 1}, 14),
}
OLDEST = "1.23.2"
FIRST_OPSET = 7
FIRST_IR = 3
WITHOUT_KERNEL = frozenset({"DeformConv", "ImageDecoder"})
_CONTRIBUTED = """
    Attention AttnLSTM BeamSearch BiasGelu BifurcationDetector CDist ConvTransposeWithDynamicPads CropAndResize
    DecoderMaskedMultiHeadAttention DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul DynamicTimeWarping
    EmbedLayerNormalization ExpandDims FastGelu FusedConv FusedGemm FusedMatMul GatherBlockQuantized GatherND Gelu
    GreedySearch GridSample GroupQueryAttention Inverse MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat
    MatMulNBits MaxpoolWithMask MoE MultiHeadAttention MurmurHash3 NGramRepeatBlock NhwcMaxPool Pad QAttention
    QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool
    QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QLinearWhere QMoE QuantizeLinear QuickGelu Range
    RotaryEmbedding SampleOp Sampling SkipLayerNormalization SkipSimplifiedLayerNormalization SparseAttention
    SparseToDenseMatMul Tokenizer TransposeMatMul Trilu UnfoldTensor Unique WhisperBeamSearch WordConvEmbedding
"""
CONTRIBUTED = frozenset(_CONTRIBUTED.split())


def check_runtime(path: str, model: Any, findings: Findings) -> None:  # noqa: ANN401 — onnx has no types
    """Refuse versions and operators that the oldest ONNX Runtime on robots does not have."""
    for sentence in (*_about_versions(model), *_about_operators(model)):
        findings.refuse(path, sentence)


def _about_versions(model: Any) -> Iterator[str]:  # noqa: ANN401
    reads = READS[OLDEST]
    if not FIRST_IR <= model.ir_version <= reads.ir_version:
        yield (
            f"has IR version {model.ir_version}, and ONNX Runtime {OLDEST} on robots reads {FIRST_IR} to "
            f"{reads.ir_version}; export it again, or set model.ir_version and save it with an older onnx"
        )
    opsets = _opsets(model)
    if STANDARD not in opsets:
        yield "does not say which opset of ai.onnx it uses; export it again"
    for domain, version in opsets.items():
        first = FIRST_OPSET if domain == STANDARD else 1
        last = reads.opsets.get(domain)
        if last is not None and not first <= version <= last:
            yield (
                f"uses opset {version} of {domain or 'ai.onnx'}, and ONNX Runtime {OLDEST} on robots reads {first} to "
                f"{last}; export it again with opset_version={last}"
            )


def _about_operators(model: Any) -> Iterator[str]:  # noqa: ANN401
    opsets = _opsets(model)
    functions = {(_domain(function.domain), function.name) for function in model.functions}
    said: set[tuple[str, str]] = set()
    for node in nodes(model):
        operator = (_domain(node.domain), node.op_type)
        if operator in functions or operator in said:
            continue
        said.add(operator)
        if not _known(operator, opsets):
            yield (
                f"node {label(node)} is {node.op_type} of the operator domain "
                f"{operator[0] or 'ai.onnx'}, which ONNX Runtime {OLDEST} on robots does not have; export it with "
                "standard operators"
            )


def _known(operator: tuple[str, str], opsets: dict[str, int]) -> bool:
    """Whether the oldest runtime has an operator. What is wrong with its opset is said elsewhere."""
    from onnx import defs

    domain, name = operator
    if domain == MICROSOFT:
        return name in CONTRIBUTED
    if domain not in (STANDARD, MACHINE_LEARNING) or name in WITHOUT_KERNEL:
        return False
    version = min(opsets.get(domain, 1), READS[OLDEST].opsets[domain])
    return bool(defs.has(name, version, domain)) and not defs.get_schema(name, version, domain).deprecated


def _opsets(model: Any) -> dict[str, int]:  # noqa: ANN401
    return {_domain(item.domain): item.version for item in model.opset_import}


def _domain(name: str) -> str:
    return STANDARD if name == "ai.onnx" else name
