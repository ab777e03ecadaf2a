"""Graphs are looked into before they are packed: what a robot would refuse, and what packing fixes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import RefusedError
from model_registry.core.reasons import LENGTH
from model_registry.inspection import inspect
from model_registry.inspection.findings import Findings
from model_registry.inspection.graphs import check_graphs, read
from model_registry.packing import check_folder, pack, prepare
from model_registry.sources import open_source
from model_registry.store import pull_model
from tests.fakes.model import NAME, contract, golden_arrays, make_model, scan_graph, write_contract
from tests.fakes.odd_graphs import GRAPH, Change, one_file, put, relist, rename_axes, with_graph
from tests.fakes.tiny import add_variant, make_split_model, make_tiny_model

REFERENCE = sorted((Path(__file__).parents[3] / "stack/models/reference").iterdir())


def refusal(folder: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        prepare(folder)
    return str(caught.value)


def rename(end: str, name: str) -> Change:
    """Another name for an input or an output, everywhere in the graph."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.input[:] = [name if each == end else each for each in node.input]
            node.output[:] = [name if each == end else each for each in node.output]
        for item in (*model.graph.input, *model.graph.output):
            if item.name == end:
                item.name = name

    return change


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.BOOL, [1, 4]))


def retype(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def resize(axis: int, size: int) -> Change:
    return lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[axis], "dim_value", size)


def flatten(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[0]


def sequence(model: onnx.ModelProto) -> None:
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 90])
    model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(kind))


def opset(version: int, domain: str = "") -> Change:
    def change(model: onnx.ModelProto) -> None:
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, version))
        else:
            model.opset_import[0].version = version

    return change


def ir(version: int) -> Change:
    return lambda model: setattr(model, "ir_version", version)


def last_node(op: str, domain: str) -> Change:
    """One more node before the action."""

    def change(model: onnx.ModelProto) -> None:
        rename("action", "raw")(model)
        model.graph.output[0].name = "action"
        model.graph.node.append(helper.make_node(op, ["raw"], ["action"], "extra", domain=domain))
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def drop_weight(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0]


def empty_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].ClearField("raw_data")


def short_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def longer_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((91, 16), np.float32), "w"))


def longer_chunk(model: onnx.ModelProto) -> None:
    """The graph says [1, 8, 2] and makes [1, 4, 4]."""
    rename_axes(("action", 1, ""), ("action", 2, ""))(model)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([1, 4, 4], np.int64), "shape"))


def no_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "other"


REFUSED = {
    "another name of an input": (rename("lidar", "scan"), "the graph has no input 'lidar', only scan"),
    "another name of the output": (rename("action", "velocity"), "the graph has no output 'action', only velocity"),
    "one more input": (add_input, "also wants an input 'mask', which vla.json does not name"),
    "another type": (retype, "tensor 'lidar' is float16, and vla.json says float32"),
    "no tensor": (sequence, "tensor 'lidar' is not a tensor but a sequence_type"),
    "another size": (resize(1, 91), "axis 1 of 'lidar' is 91 long, and vla.json says 90"),
    "another batch": (resize(0, 4), "axis 0 of 'lidar' is 4 long, and vla.json says 1"),
    "no batch": (flatten, r"tensor 'lidar' is [90], and vla.json says [1, 90]"),
    "one name of two sizes": (
        rename_axes(("lidar", 0, "n"), ("lidar", 1, "n")),
        "axis 1 of 'lidar' is as long as axis 0 of 'lidar' ('n'), and vla.json says 90 and 1; export it again with "
        "fixed shapes",
    ),
    "an opset to come": (opset(30), "uses opset 30 of ai.onnx, and ONNX Runtime 1.23.2 on robots reads 7 to 23"),
    "an opset of long ago": (opset(5), "uses opset 5 of ai.onnx"),
    "an opset of another domain": (opset(9, "ai.onnx.ml"), "uses opset 9 of ai.onnx.ml"),
    "an IR version to come": (ir(12), "has IR version 12, and ONNX Runtime 1.23.2 on robots reads 3 to 11"),
    "a custom operator": (
        last_node("FusedGate", "com.example"),
        "node 'extra' is FusedGate of the operator domain com.example, which ONNX Runtime 1.23.2 on robots does not",
    ),
    "an unknown operator of Microsoft": (last_node("Levitate", "com.microsoft"), "Levitate of the operator domain com"),
    "an operator that nobody has": (last_node("Levitate", ""), "Levitate of the operator domain ai.onnx"),
    "an operator without a kernel": (last_node("ImageDecoder", ""), "ImageDecoder of the operator domain ai.onnx"),
    "a weight that is not there": (drop_weight, "tensor 'w', which node 'multiply' (MatMul) reads, is missing"),
    "a weight without numbers": (empty_weight, "tensor 'w': its numbers are missing"),
    "a weight that is cut off": (short_weight, "tensor 'w': it has 5756 bytes of 5760"),
    "shapes that contradict each other": (longer_weight, "is not a valid ONNX graph ("),
    "another shape than it says": (longer_chunk, "tensor 'action' comes out as [1, 4, 4], and vla.json says [1, 8, 2]"),
    "an output of nothing": (no_output, "its output 'action' is the result of no node"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_graph_that_a_robot_would_refuse_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    change, words = REFUSED[kind]
    said = refusal(with_graph(tmp_path / "m", change))
    assert f"{GRAPH}: " in said and words in said and "; " in said
    assert "things to fix" not in said and len(said) < LENGTH + 300


def test_what_one_runtime_has_is_not_refused(tmp_path: Path) -> None:
    for number, change in enumerate((last_node("Gelu", "com.microsoft"), opset(23), ir(4), opset(5, "ai.onnx.ml"))):
        folder = with_graph(tmp_path / str(number), change)
        assert prepare(folder).notes == ()
        onnxruntime.InferenceSession(str(folder / GRAPH), providers=["CPUExecutionProvider"])


def test_a_function_of_the_model_itself_is_no_custom_operator(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        last_node("Twice", "here")(model)
        body = [helper.make_node("Add", ["x", "x"], ["y"])]
        model.functions.append(helper.make_function("here", "Twice", ["x"], ["y"], body, [helper.make_opsetid("", 18)]))

    folder = with_graph(tmp_path / "m", change)
    assert prepare(folder).notes == ()
    onnxruntime.InferenceSession(str(folder / GRAPH), providers=["CPUExecutionProvider"])


def test_a_custom_operator_inside_of_a_branch_is_found(tmp_path: Path) -> None:
    def branch(name: str, op: str, domain: str) -> onnx.GraphProto:
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 2])
        return helper.make_graph(
            [helper.make_node(op, ["raw"], [name], f"in {name}", domain=domain)], name, [], [result]
        )

    def change(model: onnx.ModelProto) -> None:
        rename("action", "raw")(model)
        model.graph.output[0].name = "action"
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        branches = {"then_branch": branch("one", "Relu", ""), "else_branch": branch("two", "Gate", "com.example")}
        model.graph.node.append(helper.make_node("If", ["yes"], ["action"], "choose", **branches))

    assert "node 'in two' is Gate of the operator domain com.example" in refusal(with_graph(tmp_path / "m", change))


@pytest.mark.parametrize("data", [b"", b"not a graph", bytes(range(256)) * 40, b"<!DOCTYPE html><html>"])
def test_bytes_that_are_no_graph_are_refused(data: bytes, tmp_path: Path) -> None:
    said = refusal(put(make_model(tmp_path / "m", size=0), GRAPH, data))
    assert f"{GRAPH}: is not an ONNX graph (" in said and "export the model again" in said


def test_one_file_of_more_than_protobuf_reads_is_told_as_that(tmp_path: Path) -> None:
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ValueError, match="holds 2 GiB, and it is larger: its weights belong into another one"):
        read(tmp_path / "large.onnx")


@given(data=st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_no_bytes_pass_for_a_graph(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = make_model(tmp_path_factory.mktemp("random") / "m", size=0)
    assert f"{GRAPH}: " in refusal(put(folder, GRAPH, data))


@given(places=st.lists(st.tuples(st.integers(0, 299), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_damaged_graph_is_refused_or_is_one_that_opens(
    places: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes of its structure, before and behind its weights, have become others."""
    folder = make_model(tmp_path_factory.mktemp("damaged") / "m", size=0)
    data = bytearray((folder / GRAPH).read_bytes())
    for place, value in places:
        data[place if place < 150 else place - 300] = value
    (folder / GRAPH).write_bytes(data)
    findings = Findings()
    changed = check_graphs(folder, Contract.load(folder), frozenset(), findings)
    if not findings.refusals:
        onnxruntime.InferenceSession(changed.get(GRAPH, bytes(data)), providers=["CPUExecutionProvider"])


AXES = [
    [("lidar", 0, "batch"), ("action", 0, "batch")],
    [("lidar", 0, ""), ("action", 0, "")],
    [("lidar", 1, "beams")],
    [("lidar", 0, "batch"), ("action", 0, "other"), ("action", 1, "steps")],
]


@pytest.mark.parametrize("places", AXES)
@pytest.mark.parametrize("save", [{}, one_file(size_threshold=1024)], ids=["whole", "external"])
def test_axes_without_a_size_get_the_contracts(
    places: list[tuple[str, int, str]], save: dict[str, object], tmp_path: Path
) -> None:
    folder = with_graph(tmp_path / "m", rename_axes(*places), **save)
    before = (folder / GRAPH).read_bytes()
    prepared = prepare(folder)
    assert len(prepared.notes) == len(places)
    assert all(f"axis {axis} of '{tensor}'" in "".join(prepared.notes) for tensor, axis, _ in places)
    assert (folder / GRAPH).read_bytes() == before
    source = open_source(f"oci:{tmp_path / 'r'}", writable=True)
    _, digest = pack(folder, source)
    assert pack(folder, source)[1] == digest
    pulled = pull_model(source, NAME, digest, tmp_path / "models").path
    graph = onnx.load(str(pulled / GRAPH), load_external_data=False).graph
    sizes = {
        item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim] for item in (*graph.input, *graph.output)
    }
    assert sizes == {"lidar": [1, 90], "tokens": [1, 8], "action": [1, 8, 2]}
    check_folder(pulled)
    session = onnxruntime.InferenceSession(str(pulled / GRAPH), providers=["CPUExecutionProvider"])
    given = {"lidar": np.ones((1, 90), np.float32), "tokens": np.ones((1, 8), np.int64)}
    assert session.run(["action"], given)[0].shape == (1, 8, 2)


def test_a_variant_and_its_model_agree_after_its_axes_were_fixed(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    small = add_variant(folder, "small")
    model = onnx.load(str(small / GRAPH))
    rename_axes(("lidar", 0, "batch"))(model)
    onnx.save(model, str(small / GRAPH))
    for place, path in ((small, GRAPH), (folder, f"small/{GRAPH}"), (folder, "small/vla.json")):
        document = json.loads((place / "vla.json").read_bytes())
        document["files"][path] = str(Digest.of_file(place / path))
        (place / "vla.json").write_text(json.dumps(document))
    source = open_source(f"oci:{tmp_path / 'r'}", writable=True)
    found, digest = pack(folder, source)
    pulled = pull_model(source, found.name, digest, tmp_path / "models").path
    Contract.load(pulled).check_files(pulled)
    Contract.load(pulled / "small").check_files(pulled / "small")
    assert prepare(folder).notes == (f"small/{GRAPH}: axis 0 of 'lidar' (batch) is fixed to 1",)


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    folder = with_graph(tmp_path / "m", lambda model: (retype(model), opset(30)(model)))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "norm_stats.json").write_text("{}")
    relist(folder)
    said = refusal(folder)
    assert "4 things to fix before this model can be packed: (1)" in said and "(4)" in said
    for words in ("float16", "opset 30", "tokenizer.json: ", "norm_stats.json: "):
        assert words in said


@pytest.mark.parametrize("make", [make_model, make_tiny_model, make_split_model])
def test_sound_models_are_packed_as_they_are(make: Callable[[Path], Path], tmp_path: Path) -> None:
    prepared = prepare(make(tmp_path / "m"))
    assert (prepared.changed, prepared.notes) == ({}, ())


@pytest.mark.parametrize("folder", REFERENCE, ids=lambda folder: folder.name)
def test_the_reference_policies_are_sound(folder: Path) -> None:
    assert inspect(folder, Contract.load(folder)).changed == {}


def second_graph(folder: Path, size: int = 2) -> Path:
    """A model whose actions go through one more graph, which takes rows of `size` speeds."""
    make_model(folder, size=0)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, size]) for name in ("raw", "smooth")]
    graph = helper.make_graph([helper.make_node("Tanh", ["raw"], ["smooth"], "smooths")], "second", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "second.onnx"))
    fields = contract(folder)
    second = {
        "id": "second",
        "path": "second.onnx",
        "runs": "frame",
        "inputs": {"raw": "policy.action"},
        "outputs": [{"name": "smooth", "dtype": "float32", "shape": [1, 8, 2]}],
    }
    write_contract(folder, {**fields, "graphs": [*fields["graphs"], second], "output": {"from": "second.smooth"}})
    return folder


def test_every_graph_of_a_model_is_looked_into(tmp_path: Path) -> None:
    assert prepare(second_graph(tmp_path / "m")).notes == ()
    said = refusal(second_graph(tmp_path / "other", 3))
    assert "second.onnx: axis 2 of 'raw' is 3 long, and vla.json says 2" in said
    assert "second.onnx: axis 2 of 'smooth' is 3 long, and vla.json says 2" in said
    assert f"{GRAPH}: " not in said


def test_a_graph_that_is_wired_to_another_name_is_refused(tmp_path: Path) -> None:
    folder = second_graph(tmp_path / "m")
    fields = json.loads((folder / "vla.json").read_bytes())
    fields["graphs"][1]["inputs"] = {"speeds": "policy.action"}
    write_contract(folder, fields)
    assert "second.onnx: the graph has no input 'speeds', only raw" in refusal(folder)


ENDS = {"float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}
ENDS |= {"bool": TensorProto.BOOL, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


@pytest.mark.parametrize("dtype", ENDS)
@pytest.mark.parametrize("says", ENDS)
def test_the_type_of_an_end_is_the_contracts_and_no_other(dtype: str, says: str, tmp_path: Path) -> None:
    """One more output of each type that a contract can name."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Cast", ["lidar"], ["seen"], "casts", to=ENDS[dtype]))
        model.graph.output.append(helper.make_tensor_value_info("seen", ENDS[dtype], [1, 90]))

    folder = with_graph(tmp_path / "m", change)
    fields = contract(folder)
    fields["graphs"][0]["outputs"].append({"name": "seen", "dtype": says, "shape": [1, 90]})
    write_contract(folder, fields)
    if dtype == says:
        assert prepare(folder).notes == ()
    else:
        assert f"tensor 'seen' is {dtype}, and vla.json says {says}" in refusal(folder)


SEEN = {
    "float16": {"cameras": {"front": {"width": 8, "height": 6, "dtype": "float16"}}},
    "uint8": {"cameras": {"front": {"width": 8, "height": 6, "dtype": "uint8"}}},
    "float32": {"cameras": {"front": {"width": 8, "height": 6}}},
}


@pytest.mark.parametrize("dtype", SEEN)
@pytest.mark.parametrize("says", SEEN)
def test_the_type_of_an_input_is_that_of_what_is_prepared(dtype: str, says: str, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("image", ENDS[dtype], [1, 3, 6, 8]))

    folder = with_graph(tmp_path / "m", change)
    pixels = np.zeros((1, 12, 16, 3), np.uint8)
    np.savez(folder / "golden/forward.npz", **golden_arrays(), **{"cameras.front": pixels})
    fields = contract(folder)
    fields["observation"] |= SEEN[says]
    fields["graphs"][0]["inputs"]["image"] = "cameras.front"
    write_contract(folder, fields)
    if dtype == says:
        assert prepare(folder).notes == ()
    else:
        assert f"tensor 'image' is {dtype}, and vla.json says {says}" in refusal(folder)


def test_an_input_may_have_a_shape_of_its_own(tmp_path: Path) -> None:
    folder = with_graph(tmp_path / "m", flatten_lidar)
    fields = contract(folder)
    fields["graphs"][0]["shapes"] = {"lidar": [90]}
    write_contract(folder, fields)
    assert prepare(folder).notes == ()
    write_contract(folder, contract(folder))
    assert "tensor 'lidar' is [90], and vla.json says [1, 90]" in refusal(folder)


def flatten_lidar(model: onnx.ModelProto) -> None:
    """The scan without its batch; the graph adds it."""
    rename("lidar", "batched")(model)
    model.graph.input[0].name = "lidar"
    del model.graph.input[0].type.tensor_type.shape.dim[0]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 90], np.int64), "batch"))
    model.graph.node.insert(0, helper.make_node("Reshape", ["lidar", "batch"], ["batched"], "batches"))


def test_axes_inside_of_a_graph_get_the_size_of_the_end_that_they_are_named_after(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        rename_axes(("lidar", 0, "batch"), ("action", 0, "batch"))(model)
        model.graph.value_info.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["batch", "width"]))

    folder = with_graph(tmp_path / "m", change)
    prepared = prepare(folder)
    [inner] = onnx.load_model_from_string(prepared.changed[GRAPH]).graph.value_info
    assert [(dim.dim_value, dim.dim_param) for dim in inner.type.tensor_type.shape.dim] == [(1, ""), (0, "width")]


UNARY = (
    *("Abs", "Ceil", "Cos", "Exp", "Floor", "Gelu", "HardSwish", "IsNaN", "Mish", "Neg"),
    *("Not", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Tanh"),
)
TYPES = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT16", "INT32", "INT64", "UINT64", "BOOL")


def cast_around(op: str, kind: int) -> Change:
    """The action through one operator on another type."""

    def change(model: onnx.ModelProto) -> None:
        opset(20)(model)
        rename("action", "raw")(model)
        model.graph.output[0].name = "action"
        for name, source, result, attributes in (
            ("Cast", "raw", "narrow", {"to": kind}),
            (op, "narrow", "done", {}),
            ("Cast", "done", "action", {"to": TensorProto.FLOAT}),
        ):
            model.graph.node.append(helper.make_node(name, [source], [result], result, **attributes))

    return change


@pytest.mark.parametrize("op", UNARY)
def test_onnx_runtime_opens_what_passes(op: str, tmp_path: Path) -> None:
    """Of every operator and type: it is refused, or ONNX Runtime makes a session of it."""
    refused = []
    folder = make_model(tmp_path / "m", size=0)
    for kind in TYPES:
        model = scan_graph()
        cast_around(op, TensorProto.DataType.Value(kind))(model)
        onnx.save(model, str(folder / GRAPH))
        findings = Findings()
        assert check_graphs(folder, Contract.load(folder), frozenset(), findings) == {}
        if findings.refusals:
            [said] = findings.refusals
            assert "is not a valid ONNX graph (" in said or " cannot run (" in said
            refused.append(kind)
        else:
            onnxruntime.InferenceSession(str(folder / GRAPH), providers=["CPUExecutionProvider"])
    assert 0 < len(refused) < len(TYPES)


@given(has=st.integers(1, 6), says=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_a_size_passes_where_it_is_the_contracts_and_nowhere_else(
    has: int, says: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = make_model(tmp_path_factory.mktemp("size") / "m", size=0)
    model = scan_graph()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((has, 16), np.float32), "w"))
    resize(1, has)(model)
    onnx.save(model, str(folder / GRAPH))
    fields = contract(folder)
    fields["observation"]["lidar"]["sectors"] = says
    write_contract(folder, fields)
    if has == says:
        prepare(folder)
    else:
        assert f"axis 1 of 'lidar' is {has} long, and vla.json says {says}" in refusal(folder)
