"""A trained policy with all that belongs to it: what torch answers is what every engine is compared with."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from vla_ros import config
from vla_ros.bundle import hash_file
from vla_ros.contract import PolicyContract
from vla_ros.errors import DatasetError
from vla_ros.observation import Observation
from vla_ros.policies.lora import merge_adapters
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.image import prepare_image
from vla_ros.processing.normalization import ActionNormalizer, Statistics
from vla_ros.processing.prompt import PromptEncoder
from vla_ros.train import checkpoint, run_folder
from vla_ros.train.build import build_policy, build_prompt_encoder
from vla_ros.train.config import TrainConfig
from vla_ros.train.start import policy_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """A policy in fp32, and what it was trained with.

    Attributes:
        tokenizer_json, statistics_json: the files that go into the bundle.
        description: of where the weights come from, for a model card.
        checkpoint_sha256: of the weights.
    """

    policy: VLAPolicy
    encoder: PromptEncoder
    contract: PolicyContract
    statistics: Statistics
    tokenizer_json: str
    statistics_json: str
    description: str
    checkpoint_sha256: str

    @torch.no_grad()
    def outputs(self, observation: Observation) -> NDArray[np.float32]:
        """Torch's answer, float32 [chunk_size, 7] in model units: the reference for every engine."""
        prompt = self.encoder.encode(observation.instruction)
        pixels = torch.from_numpy(prepare_image(observation.image, self.contract.image))
        outputs = self.policy(pixels, torch.from_numpy(prompt.input_ids)[None], torch.tensor([prompt.query_index]))
        answer: NDArray[np.float32] = outputs[0].numpy()
        return answer

    def unnormalize(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Model units [..., 7] to SI units."""
        normalizer = ActionNormalizer(self.statistics, self.contract.arm_bounds, self.contract.recipe)
        return normalizer.unnormalize(outputs)

    def predict(self, observation: Observation) -> NDArray[np.float32]:
        """`outputs` in SI units."""
        return self.unnormalize(self.outputs(observation))

    def prefix_ids(self) -> list[int]:
        """The ids in front of the image, which are the same for every instruction."""
        ids: list[int] = self.encoder.encode("move").input_ids[: self.encoder.image_start].tolist()
        return ids

    def text_length(self, instruction: str) -> int:
        """Tokens behind the image, ActionQueries included."""
        end = self.encoder.encode(instruction).query_index + self.contract.action_queries
        return end - self.encoder.image_start - self.contract.image.image_tokens

    @property
    def longest_text(self) -> int:
        """What `text_length` is at most."""
        return self.contract.prompt.max_tokens - self.encoder.image_start - self.contract.image.image_tokens

    @torch.no_grad()
    def feed(self, observation: Observation) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of `PolicyGraph.forward` for an observation."""
        prompt = self.encoder.encode(observation.instruction)
        backbone = self.policy.backbone
        end = self.encoder.image_start + self.contract.image.image_tokens
        words = backbone.word_embeddings(torch.from_numpy(prompt.input_ids[end : prompt.query_index])[None])
        queries = backbone.embed_queries(self.policy.action_query)[None]
        pixels = torch.from_numpy(prepare_image(observation.image, self.contract.image))
        return pixels, torch.cat([words, queries], dim=1), torch.tensor([words.shape[1]])


def load_run(run: Path) -> tuple[TrainedPolicy, TrainConfig]:
    """Read the best checkpoint in the folder of `vla-ros train`, and its config.

    Raises:
        ConfigError, DatasetError: a file is missing or damaged.
    """
    settings = config.load(run / run_folder.CONFIG, TrainConfig)
    path = checkpoint.best(run)
    state = checkpoint.load_state(path)
    run_folder.check_files(run, path)
    tokenizer_json = (run / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_str(tokenizer_json)
    statistics_json = (run / "statistics.json").read_text(encoding="utf-8")
    policy = load_policy(settings, tokenizer, path)
    trained = TrainedPolicy(
        policy=policy,
        encoder=build_prompt_encoder(tokenizer, settings.policy, settings.recipe),
        contract=make_contract(settings, statistics_json),
        statistics=Statistics.from_json(statistics_json, str(run / "statistics.json")),
        tokenizer_json=tokenizer_json,
        statistics_json=statistics_json,
        description=(
            f"{state.step} steps of {settings.optimizer.batch_size} samples "
            f"({state.step * settings.optimizer.batch_size} in all)"
        ),
        checkpoint_sha256=hash_file(path / checkpoint.MODEL)[1],
    )
    return trained, settings


def load_policy(settings: TrainConfig, tokenizer: Tokenizer, path: Path) -> VLAPolicy:
    """The policy of a checkpoint, its adapters merged into its weights.

    Raises:
        DatasetError: the weights are not those of the config.
    """
    policy = build_policy(
        settings.policy, settings.recipe, settings.chunk_size, tokenizer, settings.seed, pretrained=False
    )
    try:
        # the weights themselves, mapped from the file: a copy would double a large model
        policy.load_state_dict(policy_weights(path), assign=True)
    except RuntimeError as error:
        raise DatasetError(
            f"{path / checkpoint.MODEL}: expected the weights of the run's config, got: {error}"
        ) from error
    if settings.policy.lora is not None:
        merge_adapters(policy.backbone)
    return policy.eval()


def make_contract(settings: TrainConfig, statistics_json: str) -> PolicyContract:
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
        statistics_sha256=hashlib.sha256(statistics_json.encode()).hexdigest(),
        action_queries=policy.action_queries,
        arm_bounds=settings.arm_bounds,
    )
