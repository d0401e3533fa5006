"""LIBERO passes the suite of all simulators."""

import pytest

pytest.importorskip("libero")

from test.sim.compliance.libero import SUBJECT
from test.sim.compliance.suite import SimulatorCompliance


@pytest.mark.sim
class TestLibero(SimulatorCompliance):
    subject = SUBJECT
