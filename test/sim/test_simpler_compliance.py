"""SimplerEnv's Bridge tasks pass the suite of all simulators."""

from test.sim.compliance.simpler import SUBJECT
from test.sim.compliance.suite import SimulatorCompliance
from test.sim.simpler_assets import NEEDS_SIMPLER

pytestmark = NEEDS_SIMPLER


class TestSimpler(SimulatorCompliance):
    subject = SUBJECT
