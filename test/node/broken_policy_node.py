"""policy_node with a mistake in what it does with an answer; a program."""

import sys

from test.node.stub_policy import open_stub
from vla_ros.node.policy_node import PolicyNode
from vla_ros.node.process import run_node


class BrokenPolicyNode(PolicyNode):
    """Never publishes a chunk."""

    def _on_finished(self) -> None:
        raise ZeroDivisionError("the mistake")


if __name__ == "__main__":
    sys.exit(run_node("policy_node", "a broken policy_node", lambda: BrokenPolicyNode(open_stub), None))
