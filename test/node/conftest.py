"""Real processes on a ROS domain of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from test.node.fleet import Fleet, Probe


@pytest.fixture
def fleet(tmp_path: Path, ros_domain: int) -> Iterator[Fleet]:
    with Fleet(tmp_path, ros_domain) as fleet:
        yield fleet


@pytest.fixture
def probe(ros_domain: int) -> Iterator[Probe]:
    probe = Probe(ros_domain)
    yield probe
    probe.close()
