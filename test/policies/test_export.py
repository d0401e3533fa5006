"""The backbones as ONNX graphs; `test/export` has the whole way to a bundle."""

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import onnxruntime as ort
import torch

from test.policies.case import Case
from test.policies.case_kosmos2 import KOSMOS2
from test.policies.case_paligemma import PALIGEMMA2
from test.policies.case_qwen2_5_vl import CUT
from vla_ros.export.onnx import INPUTS, OPSET


# `test/export` has Qwen3-VL; its mixture of experts chooses them by data-dependent indexing, which is no static graph
@pytest.mark.parametrize("case", [CUT, PALIGEMMA2, KOSMOS2], ids=str)
@torch.no_grad()
def test_the_exported_graph_answers_as_torch_does(case: Case) -> None:
    policy, inputs = case.policy(), case.inputs()
    rows = [tuple(argument[row : row + 1] for argument in inputs.arguments) for row in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            policy, rows[0], input_names=list(INPUTS), opset_version=OPSET, dynamo=True, verbose=False
        )
    session = ort.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for row in rows:  # the query stands elsewhere in the second
        (actions,) = session.run(None, {name: value.numpy() for name, value in zip(INPUTS, row, strict=True)})
        np.testing.assert_allclose(actions, policy(*row).numpy(), atol=1e-5)
