"""command_gate: chunks in, one command per control period out; the only publisher of commands."""

import json
import sys
import time
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import TimeReference
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import Command
from vla_ros.control import safety_gate
from vla_ros.control.gate_config import GateConfig
from vla_ros.control.gate_state import GateState, Inbox, Mode
from vla_ros.control.lockstep_gate import Answer, LockstepGate
from vla_ros.errors import ContractError
from vla_ros.node import qos
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.managed import ManagedLifecycleNode
from vla_ros.node.messages import chunk_from_trajectory, ns_from_stamp, stamp_from_ns
from vla_ros.node.process import run_node
from vla_ros.node.publish import publish
from vla_ros.node.robot_link import RobotLink

NAME = "command_gate"
POLL_S = 0.02
DIAGNOSTICS_S = 1.0
ACKNOWLEDGE_S = 0.3
"""How long a last stop may take to be delivered before the process ends [s]."""

LEVELS = {
    Mode.ARMED: DiagnosticStatus.OK,
    Mode.RUN: DiagnosticStatus.OK,
    Mode.HOLD: DiagnosticStatus.WARN,
    Mode.FAULT: DiagnosticStatus.ERROR,
}


class CommandGateNode(ManagedLifecycleNode[GateParameters]):
    """Ticks the safety gate, in wall time or in a simulator's.

    Topics:
        policy_node/action_chunk, instruction, emergency_stop: in.
        /clock, or sim_bridge/tick: in, in lockstep: one message is one tick. A tick's `time_ref` is the stamp of the
            observation whose chunk the simulator wants to be in the answer, or 0: answer with what there is.
        commands: out, as the robot's parameters say, see arm_output.py and gripper_output.py; by default
            delta_twist_cmds and gripper_command, one each per tick with the same stamp.
        ~/state: out, latched: published before the command that it is about.
        policy_node/instruction: in, latched: chunks run only while it is the gate's own instruction.
        ~/instruction: out, latched: the instruction that gate and policy agree on; empty while they differ.
        /diagnostics: out, on change and once a second.
    Service: ~/reset leaves FAULT.
    """

    def __init__(self) -> None:
        super().__init__(NAME, GateParameters)
        self._config: GateConfig | None = None
        self._robot: RobotLink | None = None
        self._lockstep: LockstepGate | None = None
        self._state = GateState()
        self._instruction: str | None = None
        self._policy_instruction: str | None = None
        self._is_pressed: bool | None = None
        self._last_stamp_ns = 0
        self._traced_ns = -1
        self._is_active = False
        self._is_pose_anew = False
        self._ticks: list[Timer] = []
        self._logged_refusal = ""
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.RELIABLE)
        self._echo = self.create_publisher(String, "~/instruction", qos.LATCHED)
        # in the order of importance: of messages that wait together, the executor takes the stop first
        # a stop counts whatever the quality of service of its publisher: each of these matches others
        for profile in qos.EVERY_STOP:
            self.create_subscription(Bool, "emergency_stop", self._on_emergency_stop, profile)
        self.create_subscription(String, "instruction", self._on_instruction, qos.LATCHED)
        self.create_subscription(String, "policy_node/instruction", self._on_policy_instruction, qos.LATCHED)
        self.create_subscription(JointTrajectory, "policy_node/action_chunk", self._on_chunk, qos.RELIABLE)
        self.create_service(Trigger, "~/reset", self._on_reset)
        if self.values.lockstep:
            self.create_subscription(ClockMessage, "/clock", self._on_clock, qos.RELIABLE)
            self.create_subscription(TimeReference, "sim_bridge/tick", self._on_simulator_tick, qos.RELIABLE)

    # ---- life cycle ----

    def configure(self) -> None:
        """Take the robot's limits and outputs from the parameters.

        Raises:
            ContractError: a value that no robot can have.
            ConfigError: an output needs a ROS package that is not installed.
        """
        self._config = self.values.gate_config
        self._robot = RobotLink(self, self.values)

    def cleanup(self) -> None:
        """Forget the robot."""
        self._config = None
        if self._robot is not None:
            self._robot.destroy()
        self._robot = None

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        assert self._config is not None
        assert self._robot is not None
        # what came before the activation is forgotten, but for the latched words, and a fault: that takes a reset
        former = self._state
        is_faulty = former.mode is Mode.FAULT
        self._state = replace(GateState(), mode=former.mode, reason=former.reason) if is_faulty else GateState()
        self._robot.start()
        self._lockstep = LockstepGate(self._config, self._state) if self.values.lockstep else None
        period_s = POLL_S if self.values.lockstep else 1 / self.values.command_rate_hz
        on_timer = self._on_poll if self.values.lockstep else self._on_tick
        self._ticks = [
            self.create_timer(period_s, on_timer, clock=self._steady),
            self.create_timer(DIAGNOSTICS_S, self._watch, clock=self._steady),
        ]
        self._is_active = True
        known = replace(
            self._robot.news(None),
            instruction=self._instruction,
            policy_instruction=self._policy_instruction,
            emergency_stop=self._is_pressed,
        )
        self._receive(known)
        self._publish_echo()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop("INACTIVE: deactivated")
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop("FINALIZED")
        return super().on_shutdown(state)

    def end(self) -> None:
        """Stop the robot and see the stop delivered, before anything is torn down."""
        self._stop("INACTIVE: shut down")

    def _stop(self, text: str) -> None:
        if not self._is_active:
            return
        self._is_active = False
        for timer in self._ticks:
            self.destroy_timer(timer)
        self._ticks = []
        self.show_state(text)
        now_ns = self._last_stamp_ns + 1 if self.values.lockstep else self.get_clock().now().nanoseconds
        self._publish(now_ns, Command.stop(self._state.gripper))
        if self._robot is not None and not self._robot.is_delivered(ACKNOWLEDGE_S):
            self.get_logger().warning("the last stop was not acknowledged by every receiver")

    # ---- in ----

    def _on_emergency_stop(self, message: Bool) -> None:
        self._is_pressed = bool(message.data)
        self._receive(Inbox(emergency_stop=self._is_pressed))

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data
        self._receive(Inbox(instruction=self._instruction))
        self._publish_echo()

    def _on_policy_instruction(self, message: String) -> None:
        self._policy_instruction = message.data
        self._receive(Inbox(policy_instruction=self._policy_instruction))
        self._publish_echo()

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = chunk_from_trajectory(message, self.values.action_space.period_ns)
        except ContractError as error:
            self._receive(Inbox(refused=(str(error),)))
            return
        self._receive(Inbox(chunks=(chunk,)))
        admitted = self._state.schedule.chunk
        if admitted is not None and admitted.stamp_ns == chunk.stamp_ns:
            self.trace.mark(chunk.stamp_ns, "chunk")

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._receive(Inbox(reset=True))
        self._publish_echo()  # a reset forgets the instruction
        self._watch()
        response.success = self._is_active and self._state.mode is not Mode.FAULT
        response.message = self._state.text
        return response

    def _receive(self, inbox: Inbox) -> None:
        """Messages act at once, not at the next tick: the state they lead to is published without delay."""
        if not self._is_active or self._config is None:
            return
        if self._lockstep is not None:
            answer = self._lockstep.receive(inbox)
            self._take(self._lockstep.state)
            self._send(answer)
            return
        now_ns = max(self.get_clock().now().nanoseconds, self._state.now_ns)
        self._take(safety_gate.receive(self._config, self._state, now_ns, inbox))

    # ---- ticks ----

    def _on_tick(self) -> None:
        if self._config is None or self._robot is None:
            return
        now_ns = self.get_clock().now().nanoseconds
        late_ns = self._ticks[0].timer_period_ns - (self._ticks[0].time_until_next_call() or 0)
        self.trace.mark(now_ns - late_ns, "due", now_ns)
        news = self._robot.news(None if self._is_pose_anew else self._state.pose)
        self._is_pose_anew = self._is_pose_anew and news.pose is None
        state, command = safety_gate.step(self._config, self._state, now_ns, news)
        self._take(state)
        self._publish(now_ns, command)
        self._trace_first_command(now_ns)

    def _trace_first_command(self, now_ns: int) -> None:
        chunk = self._state.schedule.chunk
        if chunk is not None and chunk.stamp_ns != self._traced_ns and self._state.last_row_ns == now_ns:
            self._traced_ns = chunk.stamp_ns
            self.trace.mark(chunk.stamp_ns, "tick", now_ns)

    def _on_clock(self, message: ClockMessage) -> None:
        self._on_time(ns_from_stamp(message.clock), None)

    def _on_simulator_tick(self, message: TimeReference) -> None:
        self._on_time(ns_from_stamp(message.header.stamp), ns_from_stamp(message.time_ref))

    def _on_time(self, stamp_ns: int, awaited_ns: int | None) -> None:
        if self._lockstep is None or not self._is_active:
            return
        answer = self._lockstep.clock(stamp_ns, time.monotonic_ns(), awaited_ns)
        self._take(self._lockstep.state)
        self._send(answer)

    def _on_poll(self) -> None:
        if self._lockstep is None:
            return
        answer = self._lockstep.poll(time.monotonic_ns())
        self._take(self._lockstep.state)
        self._send(answer)

    # ---- out ----

    def _take(self, state: GateState) -> None:
        former, self._state = self._state, state
        if (former.mode is Mode.FAULT) != (state.mode is Mode.FAULT):
            self._is_pose_anew = True  # the arm may have been moved by other means: a target begins where it is
        if state.last_exit is not None and state.last_exit is not former.last_exit:
            self.get_logger().warning(f"left RUN: {json.dumps(state.last_exit.as_dict())}")
        if state.last_refusal != self._logged_refusal:
            self._logged_refusal = state.last_refusal
            if state.last_refusal:
                self.get_logger().error(f"refused: policy_node/action_chunk: {state.last_refusal}")
                self._publish_diagnostics()
        if state.text != self._state_text:
            self.show_state(state.text)
            self._publish_diagnostics()

    def _send(self, answer: Answer | None) -> None:
        if answer is not None:
            self._publish(answer.stamp_ns, answer.command)

    def _publish(self, stamp_ns: int, command: Command) -> None:
        self._last_stamp_ns = stamp_ns
        if self._robot is not None:
            self._robot.send(stamp_ns, command, self._state.pose)

    def _publish_echo(self) -> None:
        if self._is_active:
            publish(self, self._echo, String(data=self._state.agreed_instruction))

    def _watch(self) -> None:
        """Once a second: is this still the only node that commands the robot?"""
        for topic in self._robot.topics if self._robot is not None else ():
            count = self.count_publishers(topic)
            if count > 1:
                self._receive(Inbox(fault=f"{topic}: expected one publisher, this gate, got {count}"))
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        status = DiagnosticStatus(
            level=LEVELS[self._state.mode], name=NAME, message=self._state.text, hardware_id=self.values.frame_id
        )
        counts = {"epoch": self._state.epoch, **self._state.counts, "last refusal": self._state.last_refusal}
        counts |= {} if self._robot is None else self._robot.counts
        status.values = [KeyValue(key=key, value=str(value)) for key, value in counts.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp_from_ns(self.get_clock().now().nanoseconds)
        publish(self, self._diagnostics, message)


def main(arguments: list[str] | None = None) -> int:
    """Run the node; `arguments` default to the command line's."""
    return run_node(NAME, __doc__ or NAME, CommandGateNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
