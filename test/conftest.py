"""What every test with ROS needs: a domain, a log folder and a network of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_ros.evaluation.domain import reserved_domain

pytest_plugins = ["test.tiny_policy"]


@pytest.fixture
def ros_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Isolate this test and every process that it starts from all other ROS nodes of the machine."""
    with reserved_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros_log"))
        yield domain
