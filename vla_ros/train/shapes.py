"""A policy's shapes without its weights, and the memory of its passes at the size of a training run."""

from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PreTrainedConfig

from vla_ros.errors import ConfigError
from vla_ros.policies import registry
from vla_ros.policies.backbone import Backbone, Layout
from vla_ros.policies.freeze import freeze
from vla_ros.policies.lora import add_adapters
from vla_ros.policies.pretrained import read_config
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.recipe import RECIPES
from vla_ros.train.activations import AsOnGpu, PassMemory, count
from vla_ros.train.config import PolicyConfig, TrainConfig
from vla_ros.train.parallel import Parallel


def build_on_meta(config: TrainConfig) -> VLAPolicy:
    """The policy of a config on the meta device, frozen and adapted as it will be trained.

    Random weights get the whole `tokenizer_vocabulary`, which the real tokenizer may not fill.

    Raises:
        ConfigError: a size is not known without a network, or the family refuses one.
    """
    policy = config.policy
    layout = Layout(image=policy.image, image_start=0, recipe=RECIPES[config.recipe])
    family = registry.family(policy.backbone)
    with torch.device("meta"):
        backbone = family.draw(_model_config(policy, family), layout)
        built = VLAPolicy(backbone, config.chunk_size, policy.head, policy.action_queries)
        freeze(backbone, policy.freeze.vision_encoder, policy.freeze.word_embeddings)
        if policy.lora is not None:
            add_adapters(backbone, policy.lora.rank, policy.lora.alpha, policy.lora.dropout)
    return built


def _model_config(policy: PolicyConfig, family: type[Backbone]) -> PreTrainedConfig:
    if policy.backbone_config is None:
        folder = Path(str(policy.weights))
        if not folder.is_dir():
            raise ConfigError(
                f"policy.backbone_config: expected the sizes of {folder}, which a plan does not download, got nothing"
            )
        return read_config(folder, family)
    fields = dict(policy.backbone_config)
    if policy.tokenizer_vocabulary is not None:
        fields["text_config"] = {**fields.get("text_config", {}), "vocab_size": policy.tokenizer_vocabulary}
    try:
        return family.read_config(fields)
    except ConfigError as error:
        raise ConfigError(f"policy.backbone_config.{error}") from error


def count_passes(policy: VLAPolicy, config: TrainConfig, launch: Parallel, samples: int) -> PassMemory:
    """Memory of one forward and backward pass of a policy on the meta device.

    One process and DDP compute with float32 weights that autocast casts; FSDP gathers weights in the precision of the
    run, and DeepSpeed, which has no autocast, has them so. A layer of experts is counted as it runs, all tokens through
    all experts where transformers does so.
    """
    is_low = config.precision == "bf16"
    if is_low and launch.strategy not in ("single", "ddp"):
        for parameter in policy.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    if config.gradient_checkpointing or launch.recomputes:
        policy.backbone.enable_gradient_checkpointing()
    as_on_device = AsOnGpu() if config.device == "cuda" else nullcontext()
    with FakeTensorMode(allow_non_fake_inputs=True), as_on_device:
        # CPU tensors, because a torch that was built without CUDA has no others that autocast knows
        policy.to_empty(device="cpu").train()
        batch = _batch(config, samples)

        def forward() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=is_low and not launch.strategy.startswith("zero")):
                outputs: Tensor = policy(*batch)
                return outputs.float().sum()

        return count(policy, forward, batch)


def _batch(config: TrainConfig, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    image, tokens = config.policy.image, config.policy.prompt.max_tokens
    features = 3 * image.temporal_patch_size * image.patch_size_px**2
    return (
        torch.empty(samples, image.patches_per_side**2, features),
        torch.zeros(samples, tokens, dtype=torch.int64),
        torch.full((samples,), tokens - config.policy.action_queries),
    )
