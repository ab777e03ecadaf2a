"""The table of all operators that are known here, by ONNX's names."""

from __future__ import annotations

from stack.engine.onnx_torch import arranging, elementwise, layers, normalizing, picking, recurrent, reducing, resizing
from stack.engine.onnx_torch.node import Operator

OPERATORS: dict[str, Operator] = {
    **elementwise.OPERATORS,
    **arranging.OPERATORS,
    **picking.OPERATORS,
    **reducing.OPERATORS,
    **layers.OPERATORS,
    **resizing.OPERATORS,
    **normalizing.OPERATORS,
    **recurrent.OPERATORS,
}
OPSETS = range(7, 24)
"""In 22 and 23 these operators got more types only; what later ones change has not been read."""
