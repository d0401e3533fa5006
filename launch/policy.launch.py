"""policy_node and command_gate: from a camera and an instruction to commands for a robot's controller.

ros2 launch vla_ros policy.launch.py policy:=my_policy.yaml robot:=my_robot.yaml image:=/camera/color/image_raw
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from vla_ros.errors import ContractError
from vla_ros.node.environment import MALLOC, fastdds_profile
from vla_ros.node.parameters import GateParameters, PolicyParameters, read_parameter_file

SHARE = get_package_share_directory("vla_ros")

# read before Python starts; what you have set yourself is kept
ENVIRONMENT = {
    name: os.environ.get(name, value)
    for name, value in {"FASTDDS_DEFAULT_PROFILES_FILE": str(fastdds_profile()), **MALLOC}.items()
}

ARGUMENTS = {
    "policy": (
        f"{SHARE}/config/node/libero_object_ten.yaml",
        "parameter file of policy_node; names the policy bundle",
    ),
    "robot": (
        f"{SHARE}/config/robot/libero.yaml",
        "parameter file of command_gate: rate, limits and timeouts of the robot",
    ),
    "bundle": ("", "policy bundle (a folder) instead of the one that the policy file names"),
    "directory": (
        SHARE,
        "working directory of the nodes: a relative path in the policy file, such as the bundle's, starts here",
    ),
    "autostart": (
        "true",
        "whether the nodes configure and activate themselves; false leaves that to `ros2 lifecycle set` or a manager",
    ),
    "image": ("image", "camera topic (sensor_msgs/Image); with image_transport: compressed, its /compressed is heard"),
    "instruction": ("instruction", "topic of what the robot should do (std_msgs/String, transient local)"),
    "delta_twist_cmds": (
        "delta_twist_cmds",
        "where the arm's velocities go (arm_output: twist), e.g. /servo_node/delta_twist_cmds",
    ),
    "gripper_trajectory": (
        "gripper_trajectory",
        "where the gripper goes (gripper_output: joint_trajectory), e.g. /gripper_controller/joint_trajectory",
    ),
    "end_effector_pose": ("end_effector_pose", "topic of the measured pose (pose_source: topic)"),
    "namespace": ("", "namespace of both nodes and of every relative topic"),
}

TOPICS = ("image", "instruction", "delta_twist_cmds", "gripper_trajectory", "end_effector_pose")


def check_lockstep(policy_file: str, robot_file: str) -> None:
    """Refuse a policy that trusts a simulator's clock beside a gate that lives in real time, and the reverse.

    Raises:
        ContractError: the two files differ in `lockstep`.
        ConfigError: one of them cannot be read.
    """
    policy = read_parameter_file(Path(policy_file), "policy_node", PolicyParameters)
    robot = read_parameter_file(Path(robot_file), "command_gate", GateParameters)
    if policy.lockstep != robot.lockstep:
        raise ContractError(
            f"{policy_file}: policy_node.lockstep: expected {robot.lockstep} as in {robot_file}, got {policy.lockstep}"
        )


def nodes(context: LaunchContext) -> list[LifecycleNode]:
    """Both nodes; a function of the context, because a parameter that nobody asked for must not be set."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    check_lockstep(value["policy"], value["robot"])
    bundle = {"bundle": str(Path(value["bundle"]).absolute())} if value["bundle"] else {}
    remappings = [(name, value[name]) for name in TOPICS if value[name] != name]

    def node(executable: str, parameter_file: str, overrides: dict[str, str]) -> LifecycleNode:
        return LifecycleNode(
            package="vla_ros",
            executable=executable,
            name=executable,
            namespace=value["namespace"],
            parameters=[str(Path(parameter_file).absolute()), {"autostart": value["autostart"] == "true", **overrides}],
            remappings=remappings,
            additional_env=ENVIRONMENT,
            cwd=value["directory"],
            output="screen",
        )

    return [node("policy_node", value["policy"], bundle), node("command_gate", value["robot"], {})]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    choices = {"autostart": ["true", "false"]}
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices.get(name))
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=nodes)])
