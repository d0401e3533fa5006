"""CALVIN passes the suite of all simulators."""

import pytest

pytest.importorskip("calvin_env", reason="no checkout of mees/calvin: make setup-calvin CALVIN=<checkout>")

from test.sim.compliance.calvin import SUBJECT
from test.sim.compliance.suite import SimulatorCompliance


@pytest.mark.calvin
class TestCalvin(SimulatorCompliance):
    subject = SUBJECT
