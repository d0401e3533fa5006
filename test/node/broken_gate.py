"""command_gate with a mistake in what it does once an emergency stop was pressed; a program."""

import sys

from vla_ros.node.command_gate_node import CommandGateNode
from vla_ros.node.process import run_node


class BrokenGate(CommandGateNode):
    """Ticks well until then."""

    def _on_tick(self) -> None:
        if self._is_pressed:
            raise ZeroDivisionError("the mistake")
        super()._on_tick()


if __name__ == "__main__":
    sys.exit(run_node("command_gate", "a broken gate", BrokenGate, None))
