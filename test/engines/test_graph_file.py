"""A graph is looked at before an engine parses it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from test.tiny_policy import reseal
from vla_ros.bundle import Bundle
from vla_ros.engines.engine import open_engine
from vla_ros.engines.graph_file import read_graph
from vla_ros.errors import BundleError


@pytest.fixture
def spoil(tiny_bundle: Path, tmp_path: Path) -> Callable[[Callable[[onnx.ModelProto], None]], Bundle]:
    """A copy whose graph was changed by somebody who knows how to seal a bundle."""

    def change(edit: Callable[[onnx.ModelProto], None]) -> Bundle:
        folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
        model = onnx.load(folder / "policy.onnx", load_external_data=False)
        edit(model)
        (folder / "policy.onnx").write_bytes(model.SerializeToString())
        return reseal(folder)

    return change


def external(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL)


def place(key: str, value: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        for entry in external(model).external_data:
            if entry.key == key:
                entry.value = value

    return edit


def test_the_graph_that_was_exported_is_read(tiny_bundle: Path) -> None:
    assert {value.name for value in read_graph(Bundle.open(tiny_bundle)).graph.output} == {"actions"}


@pytest.mark.parametrize("location", ["../policy.onnx.data", "/etc/passwd", "sub/policy.onnx.data", "tokenizer.json"])
@pytest.mark.parametrize("engine", ["onnx_cpu", "openvino_cpu"])
def test_weights_outside_of_the_bundles_own_file_are_refused(spoil, location: str, engine: str) -> None:
    with pytest.raises(BundleError, match=rf"expected its data in policy\.onnx\.data, got '{location}'"):
        open_engine(engine, spoil(place("location", location)), threads=1)


@pytest.mark.parametrize(("key", "value"), [("offset", "99999999999"), ("length", "99999999999"), ("offset", "-4")])
def test_weights_beyond_the_end_of_the_file_are_refused(spoil, key: str, value: str) -> None:
    with pytest.raises(BundleError, match=r"expected data within \d+ bytes, got"):
        read_graph(spoil(place(key, value)))


def test_a_place_that_is_no_number_is_refused(spoil) -> None:
    with pytest.raises(BundleError, match="expected numbers for its place, got"):
        read_graph(spoil(place("offset", "zero")))


def test_operators_that_need_other_code_are_refused(spoil) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[3].domain = "evil.example"

    with pytest.raises(BundleError, match=r"operators: expected ONNX's own, got those of evil\.example"):
        read_graph(spoil(edit))


def add_branch(model: onnx.ModelProto) -> None:
    """Operators within operators."""
    inner = onnx.helper.make_graph([onnx.helper.make_node("Run", [], ["x"], domain="evil.example")], "g", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["query_index"], ["y"], then_branch=inner, else_branch=inner))


def add_secret(model: onnx.ModelProto) -> None:
    """A constant whose data lie elsewhere."""
    tensor = onnx.TensorProto(name="secret", data_type=onnx.TensorProto.UINT8, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/secret")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["y"], value=tensor))


@pytest.mark.parametrize("edit", [add_branch, add_secret])
def test_what_hides_in_attributes_is_refused(spoil, edit) -> None:
    with pytest.raises(BundleError, match=r"expected a number, text or tensor in the graph, got (GRAPH|TENSOR)"):
        read_graph(spoil(edit))


def test_a_graph_of_another_action_space_is_refused(spoil) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 8

    with pytest.raises(BundleError, match=r"inputs and outputs: expected .*\[1, 4, 7\].* as in policy\.yaml, got"):
        read_graph(spoil(edit))


def test_what_is_no_graph_is_refused_in_one_line(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (folder / "policy.onnx").write_bytes(np.random.default_rng(0).bytes(1000))
    reseal(folder)
    with pytest.raises(BundleError, match=r"policy\.onnx: expected an ONNX graph, got") as error:
        read_graph(Bundle.open(folder))
    assert "\n" not in str(error.value)
