"""Imports point one way, and each part of the package needs only what it must."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "vla_ros"

# lowest first; a room may import from its own and from lower layers only
LAYERS = (
    ("errors", "observation", "action", "contract", "config", "rotation", "recipe", "html_template"),
    ("processing",),
    ("bundle",),
    ("policies", "engines", "control", "data"),
    ("train", "export", "sim", "node"),
    ("evaluation", "bench"),
    ("commands", "cli"),
)

ROS = ("rclpy", "lifecycle_msgs", "rcl_interfaces", "std_srvs", "builtin_interfaces", "rosgraph_msgs")
ROS_MESSAGES = ("std_msgs", "sensor_msgs", "geometry_msgs", "trajectory_msgs", "diagnostic_msgs", "action_msgs")
# the ROS side of a simulator and of a benchmark; everything else of sim/ and bench/ runs without ROS
ROS_ROOMS = (
    "node",
    "sim/bridge_node",
    "sim/ros_node",
    "sim/ros_link",
    "sim/real_time_link",
    "bench/reaction_camera",
    "bench/reaction_operator",
    "bench/reaction_receiver",
)
TORCH = ("torch", "transformers", "safetensors", "onnxscript")
WITHOUT_TORCH = ("control", "node", "engines", "processing", "sim", "evaluation", "commands")
SIMULATORS = (
    *("libero", "robosuite", "mujoco", "mani_skill", "sapien", "gymnasium"),
    *("calvin_env", "calvin_agent", "pybullet", "hydra", "omegaconf", "gym"),
)


def modules() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imported(path: Path, *, also_in_functions: bool) -> set[str]:
    """Dotted names that a module imports; `if TYPE_CHECKING` blocks do not count, they never run."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse((PACKAGE / path).read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not also_in_functions:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            # `from vla_ros.node import qos` imports vla_ros.node.qos
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        pending.extend(ast.iter_child_nodes(node))
    return found


def room(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def is_in(path: Path, rooms: tuple[str, ...]) -> bool:
    name = path.with_suffix("").as_posix()
    return any(name == entry or name.startswith(f"{entry}/") for entry in rooms)


def top_level(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_every_room_has_a_layer() -> None:
    known = {name for layer in LAYERS for name in layer} | {"__init__"}
    assert {room(path) for path in modules()} <= known


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_point_one_way(path: Path) -> None:
    level = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    if path.name == "__init__.py" and len(path.parts) == 1:
        return
    for name in imported(path, also_in_functions=False):
        parts = name.split(".")
        if parts[0] == "vla_ros" and len(parts) > 1 and parts[1] in level:
            assert level[parts[1]] <= level[room(path)], f"{path}: {room(path)} may not import {name}"


@pytest.mark.parametrize("path", modules(), ids=str)
def test_only_the_ros_side_imports_ros(path: Path) -> None:
    ros = top_level(imported(path, also_in_functions=True)) & {*ROS, *ROS_MESSAGES}
    assert not ros or is_in(path, ROS_ROOMS), f"{path}: imports {', '.join(sorted(ros))}"


@pytest.mark.parametrize("path", [path for path in modules() if is_in(path, WITHOUT_TORCH)], ids=str)
def test_what_runs_on_the_robot_does_not_import_torch(path: Path) -> None:
    late_is_allowed = is_in(path, ("commands",))  # `vla-ros train` needs torch once it runs, not before
    torch = top_level(imported(path, also_in_functions=not late_is_allowed)) & set(TORCH)
    assert not torch, f"{path}: imports {', '.join(sorted(torch))}"


@pytest.mark.parametrize("path", [path for path in modules() if is_in(path, ("sim",))], ids=str)
def test_simulators_are_imported_only_when_one_is_opened(path: Path) -> None:
    assert not top_level(imported(path, also_in_functions=False)) & set(SIMULATORS)


def run_without(blocked: tuple[str, ...], code: str) -> None:
    """Run `code` in a new interpreter where importing a blocked module fails."""
    block = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    subprocess.run([sys.executable, "-c", block + code], check=True, cwd=PACKAGE.parent)


def test_the_command_line_starts_without_torch_and_ros() -> None:
    run_without(
        (*TORCH, *SIMULATORS, "rclpy"),
        "from vla_ros import cli\ntry: cli.main(['--help'])\nexcept SystemExit as e: assert e.code == 0",
    )


def test_the_gate_starts_without_any_inference_engine() -> None:
    engines = ("onnx", "onnxruntime", "openvino", "tensorrt", "tokenizers", "cv2")
    run_without((*TORCH, *SIMULATORS, *engines), "import vla_ros.node.command_gate_node")


def test_the_policy_runs_without_torch() -> None:
    run_without((*TORCH, *SIMULATORS), "import vla_ros.node.policy_node, vla_ros.engines.policy_runner")
