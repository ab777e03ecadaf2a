"""The module that runs what is left of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch
from torch import Tensor

from stack.engine.onnx_torch.plan import GraphPlan


class TorchGraph(torch.nn.Module):  # type: ignore[misc]
    """Takes the inputs of a graph in the order of `names` and gives a tuple of its outputs in the order of `results`.

    Each tensor has the type and the sizes that the graph says; a caller compares them with what it has, since nothing
    is checked here while it runs. Raises IncompatibleError, as GraphPlan does, for a graph that it cannot compute.
    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str], results: Sequence[str]) -> None:
        super().__init__()
        self.names = list(names)
        self.results = list(results)
        plan = GraphPlan(model, names, results)
        self._computations = plan.computations
        self._places = {name: f"constant_{index}" for index, name in enumerate(plan.constants)}
        for name, value in plan.constants.items():
            self.register_buffer(self._places[name], value)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values: dict[str, Tensor] = dict(zip(self.names, inputs, strict=True))
        for each in self._computations:
            given = [self._value(name, values) for name in each.node.inputs]
            made = each.operator.compute(given, each.node)
            values.update(zip(each.node.outputs, made, strict=False))
            for name in each.done:
                values.pop(name, None)
        return tuple(self._value(name, values) for name in self.results)

    def _value(self, name: str, values: dict[str, Tensor]) -> Tensor | None:
        """A tensor, or None where an optional input is not given."""
        if name in values:
            return values[name]
        return getattr(self, self._places[name]) if name else None
