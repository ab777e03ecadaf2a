"""An ONNX graph as a torch module, so that torch runs the same packaged bytes as every other backend.

Models carry no exported program: loading one unpickles whatever is in it. A graph is data; here each of its nodes is
one call. Shapes are static, as in every model here, so that the module can be exported and compiled as a whole.

    module = TorchGraph(onnx.load(path), ["image", "state"], ["action"]).eval().to(device)
    (action,) = module(image, state)

    graph.py        the module: what is left of a graph, run node by node
    plan.py         reads a graph: computes what is constant, and keeps the other nodes in order
    node.py         a node, what is asked of it, and what an operator's entry in a table says
    operators.py    the table of all operators, put together from those below
    elementwise.py  arithmetic, comparisons, logic, casts, activations
    arranging.py    shapes: reshape, slice, concatenate, pad, expand
    picking.py      by index: gather, scatter, top k, one-hot
    reducing.py     sums, means, extremes, softmax
    layers.py       products, convolutions, pooling, resizing
    normalizing.py  batch, layer, group, instance and RMS normalization
    recurrent.py    LSTM and GRU

An operator, an attribute or a value of one that is not here is refused by its name when the graph is read. So a graph
that was read computes what ONNX says, or fails.
"""

from __future__ import annotations

from stack.engine.onnx_torch.graph import TorchGraph

__all__ = ["TorchGraph"]
