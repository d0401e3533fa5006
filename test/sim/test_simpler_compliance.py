"""SimplerEnv's Bridge tasks pass the suite of all simulators."""

import pytest

from test.sim.simpler_assets import require_simpler

require_simpler()

from test.sim.compliance.simpler import SUBJECT  # noqa: E402
from test.sim.compliance.suite import SimulatorCompliance  # noqa: E402


@pytest.mark.simpler
class TestSimpler(SimulatorCompliance):
    subject = SUBJECT
