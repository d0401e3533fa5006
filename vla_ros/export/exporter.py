"""A training run to a policy bundle, with proof that the graph answers as torch does."""

import dataclasses
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from vla_ros import bundle, config
from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.contract import PolicyContract
from vla_ros.data.libero import LiberoDataset
from vla_ros.engines.policy_runner import GOLDEN_TOLERANCE, GoldenProbe, PolicyRunner
from vla_ros.errors import BundleError, ConfigError, DatasetError, EngineError
from vla_ros.export.onnx import export_onnx
from vla_ros.observation import Observation
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.image import prepare_image
from vla_ros.processing.normalization import ActionNormalizer, Statistics
from vla_ros.processing.prompt import PromptEncoder
from vla_ros.train import checkpoint
from vla_ros.train.build import build_policy, build_prompt_encoder
from vla_ros.train.config import TrainConfig

TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "tokenizers", "numpy")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """What a finished run holds: the moving average of its weights and what belongs to them."""

    policy: VLAPolicy
    encoder: PromptEncoder
    contract: PolicyContract
    statistics: Statistics
    config: TrainConfig
    step: int

    @torch.no_grad()
    def predict(self, observation: Observation) -> NDArray[np.float32]:
        """Torch's answer, float32 [chunk_size, 7] in SI units: the reference for every engine."""
        prompt = self.encoder.encode(observation.instruction)
        pixels = torch.from_numpy(prepare_image(observation.image, self.contract.image))
        outputs = self.policy(pixels, torch.from_numpy(prompt.input_ids)[None], torch.tensor([prompt.query_index]))
        return ActionNormalizer(self.statistics).unnormalize(outputs[0].numpy())


def load_run(run: Path) -> TrainedPolicy:
    """Read the folder of `vla-ros train`.

    Raises:
        ConfigError, DatasetError: a file is missing or damaged.
    """
    settings = config.load(run / "train.yaml", TrainConfig)
    for name in ("tokenizer.json", "statistics.json"):
        if not (run / name).is_file():
            raise ConfigError(f"{run / name}: expected a file that `vla-ros train` writes, got nothing")
    check_companions(run)
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    statistics_text = (run / "statistics.json").read_text(encoding="utf-8")
    step, groups = checkpoint.load(run / checkpoint.FILE_NAME)
    policy = build_policy(settings.policy, tokenizer, settings.seed)
    policy.load_state_dict(groups["ema"])
    return TrainedPolicy(
        policy=policy.eval(),
        encoder=build_prompt_encoder(tokenizer, settings.policy),
        contract=make_contract(settings, statistics_text),
        statistics=Statistics.from_json(statistics_text, str(run / "statistics.json")),
        config=settings,
        step=step,
    )


def check_companions(run: Path) -> None:
    """Refuse statistics or a tokenizer that these weights were not trained with.

    Raises:
        DatasetError: their sha256 is not the one that the checkpoint names.
    """
    for name, expected in checkpoint.load_companions(run / checkpoint.FILE_NAME).items():
        digest = hashlib.sha256((run / name).read_bytes()).hexdigest()
        if digest != expected:
            raise DatasetError(
                f"{run / name}: sha256: expected {expected} as in {checkpoint.FILE_NAME}, got {digest}; train anew"
            )


def make_contract(settings: TrainConfig, statistics_text: str) -> PolicyContract:
    """The contract that follows from a training config."""
    policy = settings.policy
    return PolicyContract(
        name=settings.name,
        backbone=policy.backbone,
        recipe=policy.recipe,
        camera=policy.camera,
        image=policy.image,
        prompt=policy.prompt,
        action=policy.action,
        chunk_size=policy.chunk_size,
        statistics_sha256=hashlib.sha256(statistics_text.encode()).hexdigest(),
    )


def export_bundle(run: Path, output: Path, model_card: Path | None, frames: int) -> dict[str, float]:
    """Write the bundle of a run, complete or not at all.

    Args:
        run: folder of `vla-ros train`.
        output: the bundle's folder; one that exists must be a bundle, and is replaced file by file.
        model_card: Markdown that becomes MODEL_CARD.md; a plain description if None.
        frames: of the training data, spread evenly, on which the graph is compared with torch.

    Returns:
        The largest error per action dimension, SI units.

    Raises:
        EngineError: the graph answers otherwise than torch by more than GOLDEN_TOLERANCE.
        BundleError: `output` exists and is no bundle.
    """
    trained = load_run(run)
    if output.exists() and not (output / bundle.MANIFEST).is_file():
        raise BundleError(f"{output}: expected a policy bundle or nothing, got another folder")
    observations = read_observations(trained.config, frames)
    golden = observations[len(observations) // 2]
    probe = GoldenProbe(image=golden.image, instruction=golden.instruction, actions=trained.predict(golden))
    card = config.read_text(model_card, "Markdown file") if model_card else describe(trained)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as temporary:
        staged = Path(temporary)
        (staged / "policy.onnx").write_bytes(export_onnx(trained.policy, trained.contract))
        (staged / "policy.yaml").write_text(contract_yaml(trained.contract), encoding="utf-8")
        (staged / "tokenizer.json").write_bytes((run / "tokenizer.json").read_bytes())
        (staged / "statistics.json").write_bytes((run / "statistics.json").read_bytes())
        (staged / "golden.npz").write_bytes(probe.to_bytes())
        (staged / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        versions = {tool: version(tool) for tool in TOOLS} | {"python": platform.python_version()}
        bundle.seal(staged, "fp32", {}, versions)
        errors = measure_parity(trained, PolicyRunner.open(staged, "onnx_cpu", threads=2), observations)
        bundle.seal(staged, "fp32", errors, versions)
        output.mkdir(exist_ok=True)
        # the manifest last: until then the old one, if any, refuses the mixture
        for name in (*bundle.REQUIRED_FILES, bundle.MANIFEST):
            (staged / name).replace(output / name)
    return errors


def read_observations(settings: TrainConfig, frames: int) -> list[Observation]:
    """Frames of the training data, spread evenly over it."""
    episodes = list(LiberoDataset(settings.data.path, labels=settings.data.labels).episodes())
    where = [(episode, step) for episode in episodes for step in range(len(episode.images))]
    chosen = np.linspace(0, len(where) - 1, min(frames, len(where))).astype(int)
    return [
        Observation(image=where[i][0].images[where[i][1]], instruction=where[i][0].instruction, stamp_ns=0)
        for i in chosen
    ]


def measure_parity(trained: TrainedPolicy, runner: PolicyRunner, observations: list[Observation]) -> dict[str, float]:
    """Largest difference between engine and torch per action dimension, SI units.

    Raises:
        EngineError: it exceeds GOLDEN_TOLERANCE.
    """
    worst = np.zeros(len(ACTION_NAMES))
    for observation in tqdm(observations, desc="comparing with torch", unit="frame"):
        difference = np.abs(runner.predict(observation).actions - trained.predict(observation))
        # a logit within rounding of zero may flip the gripper; the arm has no such edge
        worst = np.maximum(worst, difference.max(axis=0))
    for name, error, tolerance in list(zip(ACTION_NAMES, worst, GOLDEN_TOLERANCE, strict=True))[:ARM_DIM]:
        if not error <= tolerance:  # NaN is no small error
            raise EngineError(f"policy.onnx: {name}: expected torch's answer within {tolerance}, got {error:.3g} off")
    return {name: float(error) for name, error in zip(ACTION_NAMES, worst, strict=True)}


def contract_yaml(contract: PolicyContract) -> str:
    """The text of `policy.yaml`."""
    plain = {field.name: _plain(getattr(contract, field.name)) for field in dataclasses.fields(contract)}
    return str(yaml.safe_dump(plain, sort_keys=False))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def describe(trained: TrainedPolicy) -> str:
    """A model card of the bare facts, for a policy that nobody has evaluated yet."""
    parameters = sum(parameter.numel() for parameter in trained.policy.parameters()) / 1e6
    samples = trained.step * trained.config.optimizer.batch_size
    return (
        f"# {trained.contract.name}\n\n"
        f"{trained.contract.backbone}, {parameters:.2f} M parameters, recipe `{trained.contract.recipe}`, "
        f"{trained.step} steps of {trained.config.optimizer.batch_size} samples ({samples} in all).\n\n"
        "Not evaluated yet: run `vla-ros eval`.\n"
    )
