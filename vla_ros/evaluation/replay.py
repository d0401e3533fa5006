"""Plays a recorded run into the real policy_node, in lockstep and in a ROS domain of its own; compares its chunks."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from tqdm import tqdm

from vla_ros.data.mcap_run import AnsweredImage, RecordedRun
from vla_ros.errors import ContractError, DatasetError, EngineError
from vla_ros.evaluation.domain import reserved_domain
from vla_ros.evaluation.plan import POLICY_NODE, child_environment
from vla_ros.evaluation.processes import Processes
from vla_ros.evaluation.replay_comparison import Pair
from vla_ros.node.parameters import read_parameter_file
from vla_ros.node.policy_parameters import PolicyParameters
from vla_ros.node.replay_link import ReplayLink
from vla_ros.node.replay_writer import ReplayWriter

START_S = 600.0
"""Opening a large bundle takes minutes; a policy_node that ends earlier is noticed at once [s]."""

MARGIN_S = 5.0
"""policy_node itself gives an inference up at the time limit, and says so; so much later it is given up itself [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay gave.

    Attributes:
        bundle_sha256: of the policy that answered, by its own word.
        pairs: recorded and replayed answers, in the order of the recording.
    """

    bundle_sha256: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """How a recording is replayed.

    Attributes:
        policy: parameters of policy_node, of which bundle, engine and threads count.
        is_other: whether a bundle other than the recorded one is meant.
        answer_timeout_s: how long one answer may take [s].
        program: the module that is run as policy_node.
    """

    policy: PolicyParameters
    is_other: bool
    answer_timeout_s: float
    program: str

    def run(self, recording: RecordedRun, output: Path | None, made_with: Mapping[str, str]) -> Replay:
        """Ask for every image that has a recorded answer; no process outlives this call.

        Args:
            recording: what is replayed.
            output: a new file, to which the replay is recorded.
            made_with: versions and machine of this replay.

        Raises:
            ContractError: the recorded bundle is another one.
            DatasetError: `output` cannot be written.
            ObservationError: the policy refuses an image or an instruction.
            EngineError: policy_node ends, fails or does not answer in time.
        """
        with reserved_domain() as domain, _log_folder() as folder, Processes(folder) as processes:
            parameters = folder / "policy.yaml"
            parameters.write_text(self._parameters_text(recording), encoding="utf-8")
            command = [sys.executable, "-m", self.program, "--ros-args", "--params-file", str(parameters)]
            processes.start(POLICY_NODE, command, child_environment(domain, folder))

            def check_alive() -> None:
                for exited in processes.exited():
                    raise EngineError(str(exited))

            with ReplayLink(domain, recording.image_type, check_alive, self.answer_timeout_s + MARGIN_S) as link:
                link.wait_until_ready(START_S)
                self._check_bundle(recording, link.bundle_sha256)
                writer = None if output is None else ReplayWriter(output, recording, link.diagnostics, made_with)
                with _finished(writer):
                    pairs = tuple(_ask(link, image, writer) for image in _with_progress(recording))
        return Replay(bundle_sha256=link.bundle_sha256, pairs=pairs)

    def _parameters_text(self, recording: RecordedRun) -> str:
        """Of the robot's parameters only those that decide the numbers: a replay has its own time and machine."""
        values = PolicyParameters(
            bundle=self.policy.bundle,
            engine=self.policy.engine,
            threads=self.policy.threads,
            image_transport="compressed" if recording.is_compressed else "raw",
            inference_timeout_s=self.answer_timeout_s,
            lockstep=True,
            autostart=True,
        )
        return str(yaml.safe_dump({f"/**/{POLICY_NODE}": {"ros__parameters": asdict(values)}}, sort_keys=False))

    def _check_bundle(self, recording: RecordedRun, sha256: str) -> None:
        if self.is_other:
            return
        if len(recording.bundles) > 1:
            raise DatasetError(f"{recording.name}: expected one bundle in a run, got {', '.join(recording.bundles)}")
        if recording.bundles and recording.bundles != (sha256,):
            raise ContractError(
                f"{self.policy.bundle}: bundle sha256: expected {recording.bundles[0]} as in {recording.name}, "
                f"got {sha256}; --compare shows how far another policy is from the recorded one"
            )


def policy_parameters(policy: Path) -> PolicyParameters:
    """Of a parameter file, or of a bundle with the default engine.

    Raises:
        ConfigError: there is no such file or it is wrong.
    """
    if policy.is_dir():
        return PolicyParameters(bundle=str(policy))
    return read_parameter_file(policy, POLICY_NODE, PolicyParameters)


def _with_progress(recording: RecordedRun) -> Iterator[AnsweredImage]:
    """The answered images, with a bar where there is a terminal."""
    yield from tqdm(
        recording.answered_images(),
        total=len(recording.answers),
        unit="image",
        desc="replay",
        leave=False,
        disable=not sys.stderr.isatty(),
    )


def _ask(link: ReplayLink, image: AnsweredImage, writer: ReplayWriter | None) -> Pair:
    reply = link.ask(image)
    if writer is not None:
        writer.add(image, reply.data)
    return Pair(recorded=image.answer.chunk, replayed=reply.chunk)


@contextlib.contextmanager
def _finished(writer: ReplayWriter | None) -> Iterator[None]:
    """A whole file, or none."""
    try:
        yield
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    if writer is not None:
        writer.finish()


@contextlib.contextmanager
def _log_folder() -> Iterator[Path]:
    """A folder for policy_node's log; it stays where policy_node is to blame."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="vla_ros-replay-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            yield folder
        except EngineError as error:
            stack.pop_all()
            log = f" (log: {folder / POLICY_NODE}.log)"
            raise EngineError(str(error).removesuffix(log) + log) from error
