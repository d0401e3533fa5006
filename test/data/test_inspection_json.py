import json

from test.data.demonstrations import STEPS, inspection
from vla_ros.data.inspection_json import to_json
from vla_ros.data.inspection_warnings import Finding


def test_json_keeps_the_promised_names() -> None:
    values = json.loads(json.dumps(to_json(inspection(), [Finding("spelling", "it is odd")])))
    assert (values["episodes"], values["steps"], values["control_rate_hz"]) == (4, 4 * STEPS, 20.0)
    assert values["length_steps"] == {"min": STEPS, "median": STEPS, "max": STEPS}
    assert values["image_sizes_px"] == [{"width": 32, "height": 24, "episodes": 4}]
    assert list(values["actions"]) == ["x", "y", "z", "rx", "ry", "rz", "gripper"]
    assert set(values["actions"]["rx"]) == {"unit", "min", "q01", "mean", "q99", "max", "std", "extreme_share"}
    assert values["actions"]["rx"]["unit"] == "rad"
    assert values["gripper"]["of_these_begin_open"] == values["gripper"]["episodes_with_changes"] == 4
    assert values["instructions"] == {"pick up the soup": 4}
    assert values["warnings"] == [{"kind": "spelling", "text": "it is odd"}]
    assert values["left_out"] == []
