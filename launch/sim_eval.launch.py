"""An evaluation in a simulator: policy_node, command_gate and the simulator's bridge; ends when the bridge ends.

    ros2 launch vla_ros sim_eval.launch.py config:=config/sim/libero_object.yaml output:=runs/first_try

Start it in the checkout, where `make setup-libero` has put the simulator. `vla-ros eval` runs the same three processes
without launch, checks more beforehand, and writes a report.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from vla_ros import config
from vla_ros.node.environment import MALLOC, fastdds_profile
from vla_ros.sim.episode import SimConfig

SHARE = get_package_share_directory("vla_ros")

ARGUMENTS = {
    "config": ("config/sim/libero_object.yaml", "what to evaluate: suite, tasks, episodes, policy and robot file"),
    "output": ("runs/sim_eval", "folder for episodes.jsonl and videos; must not hold an earlier evaluation"),
    "episodes": ("", "episodes per task, instead of the config's"),
    "bundle": ("", "policy bundle (a folder) instead of the one that the policy file names"),
    "python": ("", "the simulator's own Python interpreter, instead of the config's"),
}

# ROS and libraries of the interpreter that runs launch; the simulator's environment brings its own
FOREIGN = ("AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")


def processes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The nodes of policy.launch.py with the config's parameter files, and the bridge."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    sim = config.load(value["config"], SimConfig)
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(f"{SHARE}/launch/policy.launch.py"),
        launch_arguments={
            "policy": str(sim.policy),
            "robot": str(sim.robot),
            "bundle": value["bundle"],
            "directory": os.getcwd(),
            "autostart": "true",
        }.items(),
    )
    bridge = ExecuteProcess(
        name="sim_bridge",
        cmd=[
            # absolute, but never resolved: a virtual environment's python is a link out of it
            str(Path(value["python"] or sim.python).absolute()),
            *("-m", "vla_ros.sim.bridge_node", "--config", value["config"], "--output", value["output"]),
            *(("--episodes", value["episodes"]) if value["episodes"] else ()),
        ],
        env={
            **{name: text for name, text in os.environ.items() if name not in FOREIGN},
            "FASTDDS_DEFAULT_PROFILES_FILE": str(fastdds_profile()),
            "PYTHONUNBUFFERED": "1",
            **MALLOC,
        },
        output="screen",
        on_exit=Shutdown(reason="the evaluation has ended"),
    )
    return [nodes, bridge]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=processes)])
