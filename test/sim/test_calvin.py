"""CALVIN itself, with the user's checkout: the benchmark's chains, its oracle, and what is drawn."""

import ctypes
import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from test.sim.calvin_checkout_needed import NEEDS_CALVIN
from test.sim.calvin_replay import command, load_trace
from test.sim.calvin_script import POINTS, START, rows
from test.sim.fixtures.make_calvin import CHAIN, INSTRUCTION
from vla_ros.action import GRIPPER_CLOSED, Command
from vla_ros.errors import SimulatorError
from vla_ros.sim import calvin_chains
from vla_ros.sim.calvin import CalvinSimulator
from vla_ros.sim.calvin_chains import CalvinBenchmark, load_benchmark
from vla_ros.sim.simulator import SimTask, Subtask

pytestmark = NEEDS_CALVIN


@pytest.fixture(scope="module")
def benchmark() -> CalvinBenchmark:
    return load_benchmark()


@pytest.fixture
def simulator() -> Iterator[CalvinSimulator]:
    """Drawn without OpenGL: the same pixels everywhere."""
    simulator = CalvinSimulator("scene_d_tiny_renderer")
    yield simulator
    simulator.close()


def chains(simulator: CalvinSimulator) -> SimTask:
    return simulator.tasks()[0]


# ---- the benchmark ----


def test_there_are_a_thousand_chains_of_five_different_tasks(benchmark: CalvinBenchmark) -> None:
    assert len(benchmark.chains) == 1000
    assert {len(set(chain.subtasks)) for chain in benchmark.chains} == {5}
    assert benchmark.chains[0].subtasks == (
        *("rotate_blue_block_right", "move_slider_right", "lift_red_block_slider", "place_in_slider"),
        "turn_off_lightbulb",
    )


def test_the_generator_makes_a_states_chains_anew_from_its_own_seed(benchmark: CalvinBenchmark) -> None:
    """One of the 34 states that chains start from; `make setup-calvin` has all made and compares their sha256."""
    with calvin_chains._without_training_code():
        generator = importlib.import_module("calvin_agent.evaluation.multistep_sequences")
    start = {"led": 0, "lightbulb": 0, "slider": "right", "drawer": "closed"}
    start |= {"red_block": "table", "blue_block": "table", "pink_block": "slider_right", "grasped": 0}
    ours = [chain.subtasks for chain in benchmark.chains if chain.start == start]
    assert len(ours) > 0
    index = next(number for number, state in enumerate(initial_states(generator)) if state == start)
    for _ in range(2):
        made = generator.get_sequences_for_state2((start, len(ours), index))
        assert Counter(tuple(chain.tolist()) for chain in made) == Counter(ours)


def initial_states(generator: object) -> list[dict[str, int | str]]:
    """The states in the generator's order, which are each one's seed: with one or two blocks on the table."""
    blocks = ("table", "slider_right", "slider_left")
    return [
        {
            "led": led,
            "lightbulb": bulb,
            "slider": slider,
            "drawer": drawer,
            "red_block": red,
            "blue_block": blue,
            "pink_block": pink,
            "grasped": 0,
        }
        for led in (0, 1)
        for bulb in (0, 1)
        for slider in ("right", "left")
        for drawer in ("closed", "open")
        for red in blocks
        for blue in blocks
        for pink in blocks
        if [red, blue, pink].count("table") in (1, 2)
        and [red, blue, pink].count("slider_right") < 2
        and [red, blue, pink].count("slider_left") < 2
    ]


def test_every_subtask_has_an_instruction_and_a_task_of_the_oracle(
    benchmark: CalvinBenchmark, simulator: CalvinSimulator
) -> None:
    asked = {name for chain in benchmark.chains for name in chain.subtasks}
    assert len(asked) == 34
    assert asked <= set(benchmark.instructions)
    simulator.reset(chains(simulator), 0, 0)
    assert asked == set(simulator._opened.oracle.tasks)


def test_the_world_starts_as_the_chain_says_in_words(benchmark: CalvinBenchmark, simulator: CalvinSimulator) -> None:
    for index in (0, 1, 6, 12):
        start = benchmark.chains[index].start
        simulator.reset(chains(simulator), index, 0)
        slide, drawer, _, _, bulb, led = simulator.scene_state()[:6]
        assert (slide > 0.1) == (start["slider"] == "left")
        assert (drawer > 0.1) == (start["drawer"] == "open")
        assert (bulb, led) == (start["lightbulb"], start["led"])
        np.testing.assert_allclose(simulator.robot_state()[:3], START, atol=1e-3)


def test_nothing_of_calvins_training_is_imported() -> None:
    code = (
        "import sys; from vla_ros.sim.calvin import CalvinSimulator; CalvinSimulator();"
        "print([name for name in ('torch', 'pyhash', 'pytorch_lightning') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ---- the oracle ----


@pytest.mark.parametrize("instruction", sorted(POINTS))
def test_the_oracle_sees_that_a_script_did_it(
    instruction: str, benchmark: CalvinBenchmark, simulator: CalvinSimulator
) -> None:
    index = next(
        number
        for number, chain in enumerate(benchmark.chains)
        if benchmark.instructions[chain.subtasks[0]] == instruction
    )
    subtask = begin(simulator, index)
    for step in rows(instruction, np.array(START)):
        assert not simulator.is_success()
        simulator.step(Command(delta=np.append(step, np.zeros(3)), gripper=GRIPPER_CLOSED))
        if simulator.is_success():
            break
    assert simulator.is_success()
    simulator.begin(subtask)
    assert not simulator.is_success()  # it is about what was done since


def begin(simulator: CalvinSimulator, index: int) -> Subtask:
    simulator.reset(chains(simulator), index, 0)
    subtask = simulator.subtasks(chains(simulator), index)[0]
    simulator.begin(subtask)
    return subtask


def test_the_recorded_trace_is_what_calvin_does(simulator: CalvinSimulator) -> None:
    """A checkout or a Bullet that behaves differently makes figures incomparable: record anew, and say so."""
    trace = load_trace()
    subtask = begin(simulator, CHAIN)
    assert subtask.instruction == INSTRUCTION
    images = [simulator.render()]
    for step in range(len(trace["action"])):
        simulator.step(command(trace, step))
        np.testing.assert_allclose(simulator.robot_state(), trace["robot"][step + 1], atol=1e-6)
        np.testing.assert_allclose(simulator.scene_state(), trace["scene"][step + 1], atol=1e-6)
        assert simulator.is_success() == trace["is_success"][step + 1]
        if step + 1 in trace["image_step"]:
            images.append(simulator.render())
    difference = np.abs(np.stack(images).astype(int) - trace["image"])
    assert (difference > 1).mean() < 1e-3


# ---- images ----


def test_a_step_draws_nothing(simulator: CalvinSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    pybullet = importlib.import_module("pybullet")
    drawn, draw = [], pybullet.getCameraImage
    monkeypatch.setattr(pybullet, "getCameraImage", lambda *args, **kwargs: drawn.append(1) or draw(*args, **kwargs))
    begin(simulator, 0)
    drawn.clear()
    for _ in range(5):
        simulator.step(Command.stop())
        simulator.is_success()
    assert drawn == []
    simulator.render()
    assert drawn == [1]


def test_opengl_draws_the_same_scene_with_other_light(simulator: CalvinSimulator) -> None:
    begin(simulator, 0)
    tiny = simulator.render().astype(float)
    simulator.close()
    official = CalvinSimulator()
    begin(official, 0)
    opengl = official.render().astype(float)
    official.close()
    assert np.corrcoef(opengl.ravel(), tiny.ravel())[0, 1] > 0.9
    assert np.abs(opengl - tiny).mean() > 5  # why it is another suite, with results of its own


def test_another_size_shows_the_same(simulator: CalvinSimulator) -> None:
    begin(simulator, 0)
    large = simulator.render()
    simulator.close()
    small = CalvinSimulator("scene_d_tiny_renderer", 100, 100)
    begin(small, 0)
    image = small.render()
    small.close()
    assert image.shape == (100, 100, 3)
    halved = large.reshape(100, 2, 100, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - image).mean() < 10


def test_a_second_world_in_one_process_is_refused(simulator: CalvinSimulator) -> None:
    begin(simulator, 0)
    before = simulator.scene_state()
    with pytest.raises(SimulatorError, match="expected one open CALVIN a process, got a second one"):
        begin(CalvinSimulator("scene_d_tiny_renderer"), 0)
    np.testing.assert_array_equal(simulator.scene_state(), before)


def test_without_egl_the_error_names_what_draws_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str | None) -> object:
        if name == "libEGL.so.1":
            raise OSError(f"{name}: cannot open shared object file")
        return library(name)

    library = ctypes.CDLL
    simulator = CalvinSimulator()
    monkeypatch.setattr("ctypes.CDLL", load)
    with pytest.raises(SimulatorError, match=r"expected EGL, got: libEGL.so.1.*setup-calvin.*scene_d_tiny_renderer"):
        begin(simulator, 0)


def test_the_configuration_that_ships_fits_the_simulator(tmp_path: Path) -> None:
    from vla_ros import config
    from vla_ros.node.gate_parameters import GateParameters
    from vla_ros.node.parameters import read_parameter_file
    from vla_ros.sim.bridge_node import make_simulator
    from vla_ros.sim.episode import SimConfig

    root = Path(__file__).resolve().parents[2]
    sim = config.load(root / "config/sim/calvin_abc_d.yaml", SimConfig)
    simulator = make_simulator(sim)
    robot = read_parameter_file(root / sim.robot, "command_gate", GateParameters)
    robot.action_space.check_same(simulator.action_space, str(sim.robot), "CALVIN")
    assert len(sim.episodes) == simulator.tasks()[0].initial_states
    unit = np.array([0.02] * 3 + [0.05] * 3)
    assert not simulator.is_clamped(Command(delta=unit, gripper=None))
    # what CALVIN takes, the gate lets pass
    assert np.linalg.norm(unit[:3]) < min(robot.max_step_m, robot.max_linear_speed_m_s / robot.control_rate_hz)
    assert np.linalg.norm(unit[3:]) < min(robot.max_step_rad, robot.max_angular_speed_rad_s / robot.control_rate_hz)
    assert json.dumps(sim.camera_size_px) == "200"
