"""Record a run, replay it: the real recorder and policy_node in processes of their own, with the stub and for real."""

import json
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

pytest.importorskip("rclpy")

from test.data.recordings import rosbag2_with_png
from test.node.fleet import GATE, POLICY, ROOT, Fleet, Probe
from test.node.lockstep_run import (
    REAL,
    Replay,
    connected,
    isolated,
    new_clock,
    run_episode,
    switch_recorder,
    wait_for_recorder,
)
from test.node.replayed_policy import LAST_BIT_COLUMN, LAST_BIT_ROW, OTHER_M, OTHER_SHA256
from test.node.teleoperation import Recorder
from test.sim.fake_simulator import FakeSimulator
from vla_ros import cli
from vla_ros.action import ACTION_NAMES
from vla_ros.bundle import Bundle, seal
from vla_ros.data.mcap import McapSource
from vla_ros.data.mcap_run import RecordedRun
from vla_ros.engines.policy_runner import PolicyRunner
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.sim.simulator import SimTask

HORIZON = GATE["execution_horizon"]
RATE_HZ = GATE["control_rate_hz"]
BUNDLE = ROOT / "models/libero-object-ten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Files by `vla-ros record --run`, and what the simulator was commanded during each, [steps, 7]."""

    files: list[Path]
    commands: list[NDArray[np.float64]]


@contextmanager
def fleet_of(folder: Path, domain: int) -> Iterator[tuple[Fleet, Probe]]:
    with Fleet(folder, domain) as fleet, closing(Probe(domain)) as probe:
        yield fleet, probe


def record(folder: Path, domain: int, probe: Probe, simulator: FakeSimulator, tasks: int) -> Run:
    """One file for an episode of each task; policy_node and command_gate run already."""
    (folder / "runs").mkdir()
    commands = []
    with Recorder(folder / "runs", domain, "--run", "--sim-time", "--wait") as recorder:
        with connected(domain) as link:
            wait_for_recorder(probe)
            clock = new_clock()
            run_episode(link, simulator, HORIZON, clock, 0)  # until all of them know each other
            for task in range(tasks):
                simulator.commands.clear()
                switch_recorder(probe, True)
                run_episode(link, simulator, HORIZON, clock, task)
                switch_recorder(probe, False)
                commands.append(np.array([[*command.delta, command.gripper] for command in simulator.commands]))
        assert recorder.end() == 0, recorder.text
        return Run(files=recorder.files(), commands=commands)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two episodes of the stub, with an instruction each."""
    folder = tmp_path_factory.mktemp("run")
    with isolated(folder) as domain, fleet_of(folder, domain) as (fleet, probe):
        fleet.start_node("command_gate", GATE)
        fleet.start_node("policy_node", POLICY)
        return record(folder, domain, probe, FakeSimulator(), tasks=2)


def policy_file(folder: Path, engine: str = "ok") -> Path:
    """As on a robot: the replay is in lockstep all the same."""
    path = folder / f"{engine}.yaml"
    parameters = {**POLICY, "engine": engine, "lockstep": False, "max_identical_frames": 1}
    path.write_text(yaml.safe_dump({"/**/policy_node": {"ros__parameters": parameters}}))
    return path


@pytest.mark.parametrize(("episode", "instruction"), [(0, "go to the right"), (1, "go to the left")])
def test_a_run_is_recorded_whole_and_replayed_to_the_last_bit(
    run: Run, tmp_path: Path, episode: int, instruction: str
) -> None:
    recording = RecordedRun.read(run.files[episode])
    images = len(run.commands[episode][::HORIZON])
    assert (recording.images, len(recording.answers), recording.imageless) == (images, images, 0)
    assert {image.answer.instruction for image in recording.answered_images()} == {instruction}
    assert (recording.bundles, recording.engines) == (("0" * 64,), ("ok",))
    assert recording.made_with["numpy"] == np.__version__
    replay = Replay(tmp_path, run.files[episode], "--policy", policy_file(tmp_path), "--json", "out.json")
    assert replay.wait() == (0, f"{images} of {images} chunks identical to the last bit\n", "")
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert (figures["images"], figures["identical"], figures["first_difference"]) == (images, images, "")


def test_a_run_is_training_data_as_well(run: Run) -> None:
    source = McapSource(path=run.files[0].parent, max_age_s=HORIZON / RATE_HZ)  # an image every so many steps
    dataset = source.open()
    for index, commands in enumerate(run.commands):
        episode = dataset.episode(index)
        last_image = len(commands[::HORIZON]) * HORIZON - HORIZON
        np.testing.assert_allclose(episode.actions, commands[: last_image + 1], atol=1e-7)
        frames = episode.frames(np.arange(len(episode)))
        assert len(np.unique(frames.reshape(len(frames), -1), axis=0)) == len(commands[::HORIZON])


def test_a_policy_is_trained_on_recorded_runs(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from test.tiny_policy import write_config
    from vla_ros.train import checkpoint

    path = write_config(tmp_path / "train.yaml", tmp_path, tmp_path / "trained", steps=2)
    fields = yaml.safe_load(path.read_text())
    source = {"path": str(run.files[0].parent), "control_rate_hz": RATE_HZ, "max_age_s": HORIZON / RATE_HZ}
    fields["data"] = {"source": {"mcap": source}, "validation_episodes": 1}
    fields["camera"] = {"name": "fake", "width": 32, "height": 32}
    del fields["objective"]["scene_weight"]  # where things are was not recorded
    path.write_text(yaml.safe_dump(fields))
    assert cli.main(["train", str(path)]) == 0
    assert checkpoint.latest(tmp_path / "trained") is not None


def test_a_single_bit_of_difference_is_found_and_named(run: Run, tmp_path: Path) -> None:
    images = list(RecordedRun.read(run.files[0]).answered_images())
    code, output, errors = Replay(tmp_path, run.files[0], "--policy", policy_file(tmp_path, "last_bit")).wait()
    assert (code, errors) == (1, "")
    name = ACTION_NAMES[LAST_BIT_COLUMN]
    seconds, nanoseconds = divmod(images[0].stamp_ns, 10**9)
    lines = output.splitlines()
    assert lines[0] == f"0 of {len(images)} chunks identical to the last bit"
    place = f"first difference: image {seconds}.{nanoseconds:09d} s, row {LAST_BIT_ROW}, {name}: "
    assert lines[1].startswith(place)
    assert " mm recorded, " in lines[1]
    assert lines[2] == "engine: recorded with ok, replayed with last_bit"


def test_another_bundle_is_refused_unless_it_is_compared_and_its_replay_is_a_run_of_its_own(
    run: Run, tmp_path: Path
) -> None:
    other = policy_file(tmp_path, "other")
    code, output, errors = Replay(tmp_path, run.files[0], "--policy", other).wait()
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert f"bundle sha256: expected {'0' * 64} as in {run.files[0]}, got {OTHER_SHA256}; --compare" in errors
    options = ("--compare", "--json", "out.json", "--plot", "out.png", "--output", "other.mcap")
    code, output, errors = Replay(tmp_path, run.files[0], "--policy", other, *options).wait()
    assert (code, errors) == (0, "")
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert figures["identical"] == 0
    assert figures["mean_difference"]["x_mm"] == pytest.approx(OTHER_M * 1e3, abs=1e-3)
    assert figures["max_difference"]["y_mm"] == 0
    assert figures["gripper_flips"] == figures["rows"] // 2
    assert re.search(r"^x +1 mm +1 mm$", output, re.MULTILINE), output
    assert f"open instead of closed or closed instead of open in {figures['rows'] // 2} of" in output
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    again = Replay(tmp_path, "other.mcap", "--policy", other)
    assert again.wait() == (0, f"{figures['images']} of {figures['images']} chunks identical to the last bit\n", "")


def test_a_rosbag2_folder_of_compressed_images_is_replayed(run: Run, tmp_path: Path) -> None:
    names = {"/image": "/camera/compressed", "/instruction": "/task", "/policy_node/action_chunk": "/arm/action_chunk"}
    bag = rosbag2_with_png(run.files[0], tmp_path / "bag", names)
    images = len(run.commands[0][::HORIZON])
    code, output, errors = Replay(tmp_path, bag, "--policy", policy_file(tmp_path)).wait()
    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == f"{images} of {images} chunks identical to the last bit"
    assert "which bundle ran was not recorded" in output


@pytest.mark.parametrize(
    ("engine", "complaint"),
    [
        ("camera", r"/image: message 0 at 0.000 s: policy_node: HOLD: image: width: expected 64 "),
        ("raise", r"/image: message 0 at .* policy_node: HOLD: inference failed: .* out of memory, says the stub"),
    ],
)
def test_a_policy_that_does_not_answer_ends_the_replay_with_its_reason(
    run: Run, tmp_path: Path, engine: str, complaint: str
) -> None:
    replay = Replay(tmp_path, run.files[0], "--policy", policy_file(tmp_path, engine), "--output", "new.mcap")
    code, output, errors = replay.wait()
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert re.search(complaint, errors), errors
    assert not list(tmp_path.glob("new.mcap*"))


def test_a_policy_node_that_ends_is_reported_with_its_log(run: Run, tmp_path: Path) -> None:
    replay = Replay(tmp_path, run.files[0], "--policy", tmp_path, program=REAL)
    code, _, errors = replay.wait()
    assert (code, errors.count("\n")) == (2, 1)
    found = re.search(r"policy_node: ended with exit code 1: .*manifest.json.* \(log: (.*/policy_node.log)\)", errors)
    assert found, errors
    assert "manifest.json" in Path(found[1]).read_text()


def test_an_interrupted_replay_leaves_no_process_and_no_file(run: Run, probe: Probe, tmp_path: Path) -> None:
    replay = Replay(tmp_path, run.files[0], "--policy", policy_file(tmp_path, "pause"), "--output", "new.mcap")
    probe.until((tmp_path / "started").exists, "the first inference")
    assert len(replay.children()) == 1
    replay.send_signal(signal.SIGINT)
    assert replay.wait() == (130, "", "vla-ros replay: interrupted\n")
    assert not replay.children()
    assert not [*tmp_path.glob("new.mcap*"), *tmp_path.glob("vla_ros-replay-*")]


class NoiseSimulator(FakeSimulator):
    """Shows what no policy was trained on, for the camera of a bundle, and never ends early."""

    def __init__(self, bundle: Bundle) -> None:
        camera = bundle.contract.camera
        super().__init__(camera.width, bundle.contract.action.frame_id, max_steps=5 * HORIZON)
        self.camera, self.goal_m = camera, np.inf
        self._instruction = PolicyRunner.read_golden(bundle).instruction
        self._noise = np.random.default_rng(0)

    def tasks(self) -> tuple[SimTask, ...]:
        return (replace(super().tasks()[0], instruction=self._instruction),)

    def render(self) -> NDArray[np.uint8]:
        return self._noise.integers(0, 256, (self.camera.height, self.camera.width, 3), np.uint8)


def test_the_shipped_policy_answers_a_recorded_run_as_it_did_and_a_resealed_bundle_is_another(
    fleet: Fleet, probe: Probe, ros_domain: int, tmp_path: Path
) -> None:
    simulator = NoiseSimulator(Bundle.open(BUNDLE))
    robot = read_parameter_file(ROOT / "config/robot/libero.yaml", "command_gate", GateParameters)
    fleet.start_node("command_gate", {**asdict(robot), "execution_horizon": HORIZON, "autostart": True})
    parameters = {"bundle": str(BUNDLE), "engine": "cpu", "threads": 2, "lockstep": True, "autostart": True}
    fleet.start_node("policy_node", parameters, program=REAL)
    (file,) = record(tmp_path, ros_domain, probe, simulator, tasks=1).files
    config = tmp_path / "policy_node.yaml"
    code, output, errors = Replay(tmp_path, file, "--policy", config, program=REAL).wait()
    assert (code, output, errors) == (0, "5 of 5 chunks identical to the last bit\n", "")
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    with (tmp_path / "bundle/MODEL_CARD.md").open("a") as card:
        card.write("\nchanged\n")
    manifest = Bundle.open(BUNDLE).manifest
    seal(tmp_path / "bundle", manifest.graph, manifest.tool_versions)
    code, _, errors = Replay(tmp_path, file, "--policy", tmp_path / "bundle", program=REAL).wait()
    assert code == 2
    sha256 = [Bundle.open(path).sha256 for path in (BUNDLE, tmp_path / "bundle")]
    assert f"bundle sha256: expected {sha256[0]} as in {file}, got {sha256[1]}" in errors
