"""What the check for RTX GPUs says where its compiler is missing or dies; `test/tensorrt` has the compiler itself."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vla_ros.engines import rtx_compiler, rtx_library
from vla_ros.engines.rtx_compiler import build_for_rtx
from vla_ros.errors import EngineError

GRAPH = Path("policy.onnx")


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtx_library, "find_spec", lambda _name: None)
    with pytest.raises(
        EngineError, match=r"TensorRT-RTX: expected its wheel .*, got none; pip install onnxruntime-ep-nv-"
    ):
        build_for_rtx(GRAPH, (8,))


def test_a_wheel_without_its_libraries_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(rtx_library, "find_spec", lambda _name: spec)
    with pytest.raises(EngineError, match=r"expected libtensorrt_rtx\.so, got none; pip install --force-reinstall"):
        rtx_library.RtxLibrary()


def test_a_release_with_other_method_tables_is_not_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rtx_library, "library_folder", lambda: tmp_path)
    monkeypatch.setattr(rtx_library, "_load", lambda _folder, _name: SimpleNamespace(getInferLibVersion=lambda: 10802))
    with pytest.raises(EngineError, match=r"expected TensorRT-RTX 1\.7, got 1\.8\.2; pip install onnxruntime-ep-nv"):
        rtx_library.RtxLibrary()


def test_a_compiler_that_dies_is_an_error_of_the_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(rtx_compiler, "library_folder", lambda: tmp_path)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(EngineError, match=r"policy\.onnx: expected a graph .*, got: its compiler died, exit code -11"):
        build_for_rtx(GRAPH, (8,))
