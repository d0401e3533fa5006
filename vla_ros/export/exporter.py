"""A training run to a policy bundle, with proof that the graph answers as torch does."""

import dataclasses
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from vla_ros import bundle, config
from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.contract import PolicyContract
from vla_ros.data.scan import scan
from vla_ros.data.windows import Windows
from vla_ros.engines.policy_runner import GOLDEN_TOLERANCE, GoldenProbe, PolicyRunner
from vla_ros.errors import BundleError, ConfigError, DatasetError, EngineError
from vla_ros.export.onnx import export_onnx
from vla_ros.observation import Observation
from vla_ros.policies.lora import merge_adapters
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.image import prepare_image
from vla_ros.processing.normalization import ActionNormalizer, Statistics
from vla_ros.processing.prompt import PromptEncoder
from vla_ros.train import checkpoint, run_folder
from vla_ros.train.build import build_policy, build_prompt_encoder
from vla_ros.train.config import TrainConfig

TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "tokenizers", "numpy")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """What a run holds: the weights of its best validation and what belongs to them."""

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
        normalizer = ActionNormalizer(self.statistics, self.contract.arm_bounds, self.contract.recipe)
        return normalizer.unnormalize(outputs[0].numpy())


def load_run(run: Path) -> TrainedPolicy:
    """Read the best checkpoint in the folder of `vla-ros train`.

    Raises:
        ConfigError, DatasetError: a file is missing or damaged.
    """
    settings = config.load(run / run_folder.CONFIG, TrainConfig)
    path = checkpoint.best(run)
    state = checkpoint.load_state(path)
    check_companions(run, path, state.companions)
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    statistics_text = (run / "statistics.json").read_text(encoding="utf-8")
    return TrainedPolicy(
        policy=load_policy(settings, tokenizer, path),
        encoder=build_prompt_encoder(tokenizer, settings.policy, settings.recipe),
        contract=make_contract(settings, statistics_text),
        statistics=Statistics.from_json(statistics_text, str(run / "statistics.json")),
        config=settings,
        step=state.step,
    )


def load_policy(settings: TrainConfig, tokenizer: Tokenizer, path: Path) -> VLAPolicy:
    """The policy of a checkpoint, its adapters merged into its weights.

    Raises:
        DatasetError: the weights are not those of the config.
    """
    policy = build_policy(
        settings.policy, settings.recipe, settings.chunk_size, tokenizer, settings.seed, pretrained=False
    )
    prefix = "policy."
    weights = checkpoint.load_model(path)
    try:
        policy.load_state_dict({name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)})
    except RuntimeError as error:
        raise DatasetError(
            f"{path / checkpoint.MODEL}: expected the weights of the run's config, got: {error}"
        ) from error
    if settings.policy.lora is not None:
        merge_adapters(policy.backbone)
    return policy.eval()


def check_companions(run: Path, path: Path, companions: dict[str, str]) -> None:
    """Refuse statistics or a tokenizer that these weights were not trained with.

    Raises:
        ConfigError: one is missing.
        DatasetError: its sha256 is not the one that the checkpoint names.
    """
    for name, expected in companions.items():
        if not (run / name).is_file():
            raise ConfigError(f"{run / name}: expected a file that `vla-ros train` writes, got nothing")
        digest = hashlib.sha256((run / name).read_bytes()).hexdigest()
        if digest != expected:
            raise DatasetError(f"{run / name}: sha256: expected {expected} as in {path}, got {digest}; train anew")


def make_contract(settings: TrainConfig, statistics_text: str) -> PolicyContract:
    """The contract that follows from a training config."""
    policy = settings.policy
    return PolicyContract(
        name=settings.name,
        backbone=policy.backbone,
        recipe=settings.recipe,
        camera=settings.camera,
        image=policy.image,
        prompt=policy.prompt,
        action=settings.action,
        chunk_size=settings.chunk_size,
        statistics_sha256=hashlib.sha256(statistics_text.encode()).hexdigest(),
        action_queries=policy.action_queries,
        arm_bounds=settings.arm_bounds,
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
        (staged / "policy.yaml").write_text(config.dumps(trained.contract), encoding="utf-8")
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
    # what is bad was refused by training, or left out
    found = scan(settings.data.source.open(), skip_bad=True, show_progress=False)
    windows = Windows(found.episodes, settings.chunk_size)
    chosen = np.linspace(0, len(windows) - 1, min(frames, len(windows))).astype(np.int64)
    samples = windows.take(chosen)
    return [
        Observation(image=image, instruction=windows.instructions[number], stamp_ns=0)
        for image, number in zip(samples.images, samples.instructions, strict=True)
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
