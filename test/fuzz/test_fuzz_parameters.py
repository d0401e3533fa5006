"""Damaged YAML and parameters: each is refused in one line that names its place, or means something sound."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from test.fuzz.mutations import changed_mapping, changed_text
from vla_ros import config
from vla_ros.errors import ConfigError
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.node.policy_parameters import PolicyParameters
from vla_ros.sim.episode import SimConfig

ROOT = Path(__file__).resolve().parents[2]
COUNT = 10_000
SCHEMAS: list[tuple[str, type, Path]] = [
    ("command_gate", GateParameters, ROOT / "config/robot/libero.yaml"),
    ("command_gate", GateParameters, ROOT / "config/robot/real_time_example.yaml"),
    ("policy_node", PolicyParameters, ROOT / "config/node/libero_object_ten.yaml"),
]


def parameters_of(path: Path, node: str) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())[f"/**/{node}"]["ros__parameters"])


def check_sound(values: Any) -> None:
    """A gate that came out of damaged parameters still has limits."""
    if not isinstance(values, GateParameters):
        return
    gate = values.gate_config
    assert all(np.isfinite(limit) and limit > 0 for limit in dataclasses.astuple(gate.motion))
    assert 0 < gate.chunk_timeout_ns < 10**12
    assert gate.executed_rows(8) in range(1, 9)
    assert gate.ticks_per_row * gate.tick_ns == pytest.approx(gate.action_space.period_ns, rel=1e-6)


def test_ten_thousand_damaged_parameter_sets_are_refused_in_one_line_or_are_sound() -> None:
    random_ = random.Random(0)
    whole = [parameters_of(path, node) for node, _, path in SCHEMAS]
    refused = 0
    for count in range(COUNT):
        node, schema, _ = SCHEMAS[count % len(SCHEMAS)]
        damaged = changed_mapping(whole[count % len(SCHEMAS)], random_)
        try:
            values = config.build(damaged, schema, "p.yaml", node)
        except ConfigError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).startswith(f"p.yaml: {node}")
            continue
        check_sound(values)
    assert refused > COUNT / 2


def test_ten_thousand_damaged_parameter_files_are_refused_in_one_line_or_are_sound(tmp_path: Path) -> None:
    random_ = random.Random(1)
    file, refused = tmp_path / "p.yaml", 0
    texts = [(node, schema, path.read_text()) for node, schema, path in SCHEMAS]
    for count in range(COUNT):
        node, schema, text = texts[count % len(texts)]
        file.write_text(changed_text(text, random_), encoding="utf-8", errors="surrogateescape")
        try:
            check_sound(read_parameter_file(file, node, schema))
        except ConfigError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).startswith(str(file))
    assert refused > COUNT / 4


def test_ten_thousand_damaged_simulation_files_are_refused_in_one_line_or_are_read(tmp_path: Path) -> None:
    random_ = random.Random(2)
    text, refused = (ROOT / "config/sim/libero_object.yaml").read_text(), 0
    file = tmp_path / "sim.yaml"
    for _ in range(COUNT):
        file.write_text(changed_text(text, random_), encoding="utf-8", errors="surrogateescape")
        try:
            config.load(file, SimConfig)
        except ConfigError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > COUNT / 4
