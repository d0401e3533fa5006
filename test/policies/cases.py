"""Every backbone of the compliance suite: one `case_<family>.py` a family."""

from importlib import import_module
from pathlib import Path

from torch import Tensor

from test.policies.case import Case, Inputs
from vla_ros.policies.backbone import Backbone

CASES: list[Case] = [
    case
    for file in sorted(Path(__file__).parent.glob("case_*.py"))
    for case in import_module(f"{__package__}.{file.stem}").CASES
]


def run(backbone: Backbone, inputs: Inputs) -> Tensor:
    """The states at the ActionQueries, [batch, queries, hidden_size]."""
    hidden: Tensor = backbone(inputs.pixel_values, inputs.input_ids, inputs.query_index, inputs.queries)
    return hidden
