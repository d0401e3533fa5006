"""`vla-ros` with the stub policy and the simulator without physics: `python -m test.evaluation.fake_eval eval ...`."""

import sys

from vla_ros import cli
from vla_ros.evaluation import plan, runner

plan.PROGRAMS[plan.POLICY_NODE] = "test.node.stub_policy"
plan.PROGRAMS[plan.BRIDGE] = "test.sim.fake_simulator"
runner.wrong_bundle = lambda workers, sha256: ""  # the stub has none

if __name__ == "__main__":
    sys.exit(cli.main())
