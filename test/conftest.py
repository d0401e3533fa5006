"""What every test with ROS needs: a domain, a log folder and processes of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vla_ros.evaluation.domain import reserved_domain

if TYPE_CHECKING:
    from test.node.fleet import Fleet, Probe

pytest_plugins = ["test.tiny_policy"]


@pytest.fixture
def ros_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Isolate this test and every process that it starts from all other ROS nodes of the machine."""
    with reserved_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros_log"))
        yield domain


@pytest.fixture
def fleet(tmp_path: Path, ros_domain: int) -> "Iterator[Fleet]":
    """The nodes as real processes."""
    from test.node.fleet import Fleet  # imports ROS, which most tests do not need

    with Fleet(tmp_path, ros_domain) as fleet:
        yield fleet


@pytest.fixture
def probe(ros_domain: int) -> "Iterator[Probe]":
    """A ROS node inside the test."""
    from test.node.fleet import Probe

    probe = Probe(ros_domain)
    yield probe
    probe.close()
