"""Observation in, action chunk out: the whole policy as the robot runs it."""

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from vla_ros.action import ActionChunk
from vla_ros.bundle import Bundle
from vla_ros.contract import PolicyContract
from vla_ros.engines.engine import Engine, open_engine
from vla_ros.engines.tolerance import check_errors
from vla_ros.engines.word_embeddings import TextInput, WordEmbeddings
from vla_ros.errors import BundleError
from vla_ros.observation import Observation
from vla_ros.processing.image import prepare_image
from vla_ros.processing.normalization import ActionNormalizer
from vla_ros.processing.prompt import PromptEncoder

_NPZ_ERRORS = (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise on a file that is no whole, plain NPZ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenProbe:
    """One observation of the training data and torch's answer to it: `golden.npz`.

    Attributes:
        image: uint8 [height, width, 3].
        instruction: its text.
        actions: float32 [chunk_size, 7], SI units.
    """

    image: NDArray[np.uint8]
    instruction: str
    actions: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """As an NPZ without pickled objects."""
        buffer = io.BytesIO()
        instruction = np.frombuffer(self.instruction.encode(), np.uint8)
        np.savez_compressed(buffer, image=self.image, instruction_utf8=instruction, actions=self.actions)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> "GoldenProbe":
        """Raises BundleError if it is no NPZ or an array is missing."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                text = arrays["instruction_utf8"].tobytes().decode()
                return cls(image=arrays["image"], instruction=text, actions=arrays["actions"])
        except _NPZ_ERRORS as error:
            raise BundleError(f"{source}: expected image, instruction_utf8 and actions, got: {error}") from error


class PolicyRunner:
    """Preprocessing, engine and un-normalisation of one bundle.

    Attributes:
        contract: what the policy expects and emits.
        bundle_sha256: which policy this is.
        mark: called with the observation's stamp [ns] and `prepared` once preprocessing is done; for who traces it.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.contract: PolicyContract = bundle.contract
        self.bundle_sha256 = bundle.sha256
        self.mark: Callable[[int, str], None] = lambda stamp_ns, stage: None
        self._engine = engine
        self._normalizer = ActionNormalizer(bundle.statistics, self.contract.arm_bounds, self.contract.recipe)
        self._encoder = PromptEncoder(
            _read_tokenizer(bundle),
            self.contract.prompt,
            self.contract.image.image_tokens,
            self.contract.recipe,
            self.contract.action_queries,
        )
        self._tolerance = bundle.manifest.graph.tolerance
        self._embeddings = WordEmbeddings(bundle, self._encoder.image_start)
        self._cached: tuple[str, TextInput] | None = None

    @classmethod
    def open(cls, bundle: Path, engine: str, threads: int) -> "PolicyRunner":
        """Verify a bundle, open the engine, warm it up and check it against the golden observation.

        Args:
            bundle: the bundle's folder.
            engine: one of `engines.engine.ENGINES`, or `cpu` for the fastest on this one.
            threads: CPU threads of one forward pass.

        Raises:
            BundleError: the folder is not a whole, unaltered bundle.
            EngineError: the engine cannot run here, or answers the golden observation otherwise than torch did.
        """
        verified = Bundle.open(bundle)
        runner = cls(verified, open_engine(engine, verified, threads))
        runner.check_golden(runner.read_golden(verified), str(bundle / "golden.npz"))
        return runner

    @staticmethod
    def read_golden(bundle: Bundle) -> GoldenProbe:
        """Raises BundleError if the bundle's golden observation is none."""
        return GoldenProbe.from_bytes(bundle.read("golden.npz"), str(bundle.path / "golden.npz"))

    def admit_instruction(self, text: str) -> None:
        """Raises ObservationError if the policy cannot be given this instruction."""
        self._prompt(text)

    def predict(self, observation: Observation) -> ActionChunk:
        """The chunk of actions for one observation.

        Raises:
            ObservationError: another camera, or no plain instruction.
            EngineError: the forward pass failed.
            ContractError: the policy answered with a non-finite number.
        """
        self.contract.camera.check(observation.image, "image")
        return ActionChunk(
            actions=self._normalizer.unnormalize(self.outputs(observation)),
            stamp_ns=observation.stamp_ns,
            period_ns=self.contract.action.period_ns,
            frame_id=self.contract.action.frame_id,
            rotation=self.contract.action.rotation,
        )

    def outputs(self, observation: Observation) -> NDArray[np.float32]:
        """What the engine answers, float32 [chunk_size, 7] in model units."""
        text = self._prompt(observation.instruction)
        pixels = prepare_image(observation.image, self.contract.image)
        self.mark(observation.stamp_ns, "prepared")
        return self._engine.infer(pixels, text.embeds, text.query_index)

    def golden_error(self, probe: GoldenProbe) -> NDArray[np.float64]:
        """Largest difference from torch's answer, per action dimension, float64 [7], SI units."""
        observation = Observation(image=probe.image, instruction=probe.instruction, stamp_ns=0)
        actions = self.predict(observation).actions
        if actions.shape != probe.actions.shape:
            raise BundleError(f"golden.npz: actions: expected {list(actions.shape)}, got {list(probe.actions.shape)}")
        return np.asarray(np.abs(actions.astype(np.float64) - probe.actions).max(axis=0))

    def check_golden(self, probe: GoldenProbe, source: str) -> None:
        """Raises EngineError if the answer differs from torch's by more than the export was allowed to."""
        check_errors(self.golden_error(probe), self._tolerance, source)

    def _prompt(self, instruction: str) -> TextInput:
        if self._cached is None or self._cached[0] != instruction:
            self._cached = (instruction, self._embeddings.look_up(self._encoder.encode(instruction)))
        return self._cached[1]


def _read_tokenizer(bundle: Bundle) -> Tokenizer:
    data = bundle.read("tokenizer.json")
    try:
        return Tokenizer.from_str(data.decode())
    except Exception as error:  # tokenizers raises no narrower class
        reason = " ".join(str(error).split())
        raise BundleError(f"{bundle.path / 'tokenizer.json'}: expected a tokenizer, got: {reason}") from error
