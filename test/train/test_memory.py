"""Memory of a run: against sizes that one can work out by hand, and against what PyTorch really keeps and allocates."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.train import memory, parallel, sharding
from vla_ros.train.activations import count
from vla_ros.train.config import FreezeConfig, LoraConfig, TrainConfig
from vla_ros.train.parallel import Parallel
from vla_ros.train.shapes import build_on_meta

ACCELERATE = Path(__file__).resolve().parents[2] / "config/train/accelerate"

CONFIG = """
name: tiny
output: runs/tiny
seed: 0
device: cpu
precision: fp32
validate_every: 1
camera: {name: agentview, width: 64, height: 64}
action: {frame_id: base, rotation: axis_angle, control_rate_hz: 20.0}
chunk_size: 4
policy:
  backbone: qwen3_vl
  backbone_config:
    vision_config: {depth: 2, hidden_size: 64, intermediate_size: 96, num_heads: 2, patch_size: 16,
      out_hidden_size: 48, num_position_embeddings: 16, deepstack_visual_indexes: [0]}
    text_config: {hidden_size: 48, intermediate_size: 80, num_hidden_layers: 3, num_attention_heads: 2,
      num_key_value_heads: 1, head_dim: 24,
      rope_parameters: {rope_type: default, rope_theta: 10000.0, mrope_section: [4, 4, 4]}}
  tokenizer_vocabulary: 400
  head: {trunk: 32, widths: [32, 16]}
  image: {size_px: 64, patch_size_px: 16, merge_size: 2, temporal_patch_size: 2,
    mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
  prompt: {template: qwen_long, max_tokens: 40}
data: {source: {libero: {path: nowhere}}, validation_episodes: 1}
augmentation: {}
optimizer: {steps: 4, batch_size: 16, learning_rate: 1.0e-3, warmup_steps: 1, schedule: constant}
"""
FSDP = Parallel(strategy="fsdp", processes=8, shards=8)


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return yaml_config.loads(CONFIG, TrainConfig, "test")


def parts(plan: memory.Plan) -> dict[str, int]:
    groups = (plan.states, *plan.moments.values(), plan.margin)
    return {part.name: part.bytes for group in groups for part in group}


def real_policy(config: TrainConfig) -> tuple[VLAPolicy, tuple[Tensor, ...]]:
    policy = build_on_meta(config).to_empty(device="cpu")
    for tensor in (*policy.parameters(), *policy.buffers()):
        tensor.data.zero_()
    image, samples = config.policy.image, config.optimizer.batch_size
    pixels = torch.zeros(samples, image.patches_per_side**2, 3 * 2 * 16 * 16)
    tokens = torch.zeros(samples, config.policy.prompt.max_tokens, dtype=torch.int64)
    return policy.train(), (pixels, tokens, torch.full((samples,), tokens.shape[1] - 1))


def test_one_process_holds_weights_gradients_and_two_moments(config: TrainConfig) -> None:
    plan = memory.make(config, Parallel(strategy="single"))
    elements = sum(parameter.numel() for parameter in build_on_meta(config).parameters())
    assert sum(part.bytes for part in plan.states) == 16 * elements
    assert plan.margin == ()  # a CPU has no context


def test_a_moving_average_is_one_more_copy(config: TrainConfig) -> None:
    averaged = replace(config, optimizer=replace(config.optimizer, ema_decay=0.99))
    plan = memory.make(averaged, Parallel(strategy="single"))
    assert parts(plan)["moving average, float32"] == 4 * plan.sizes.all


def test_fsdp_shares_the_states_and_gathers_the_root_and_a_few_layers(config: TrainConfig) -> None:
    plan = memory.make(replace(config, precision="bf16"), FSDP)
    policy = build_on_meta(config)
    layers = list(policy.backbone.language_model.layers)
    layer = sum(parameter.numel() for parameter in layers[0].parameters())
    assert plan.sizes.layer == layer
    assert plan.sizes.root == plan.sizes.all - len(layers) * layer
    assert parts(plan)["root unit, gathered all the time"] == 2 * plan.sizes.root
    assert parts(plan)["three layers gathered or on their way"] == 6 * layer
    assert sum(part.bytes for part in plan.states) == pytest.approx(16 * plan.sizes.all / 8, abs=4)


def test_more_passes_an_update_hold_no_more_gradients(config: TrainConfig) -> None:
    more = replace(config, optimizer=replace(config.optimizer, accumulation_steps=2))
    one, two = parts(memory.make(config, FSDP)), parts(memory.make(more, FSDP))
    gradients = {name for name in one if "gradients" in name}
    assert gradients
    assert {name: two[name] for name in gradients} == {name: one[name] for name in gradients}
    assert {name for name in two if "gradients" in name} == gradients


def test_gradients_are_reduced_in_float32(config: TrainConfig) -> None:
    low = replace(config, precision="bf16")
    plan = memory.make(low, FSDP)
    found = parts(plan)
    assert found["a layer's gradients, and two layers' on their way in float32"] == 10 * plan.sizes.layer
    assert found["root unit's gradients, and their buffer in float32"] == 6 * plan.sizes.root


def test_every_process_of_a_machine_builds_the_whole_model_in_the_hosts_memory(config: TrainConfig) -> None:
    many = replace(config, device="cuda", optimizer=replace(config.optimizer, batch_size=32))
    plan = memory.make(many, Parallel(strategy="fsdp", processes=32, machines=4, shards=32))
    assert plan.host.bytes == 8 * 4 * plan.sizes.all
    assert "host memory of one machine" in plan.text()
    assert "host memory" not in memory.make(config, Parallel(strategy="single")).text()  # a CPU has no other


def test_hybrid_sharding_shares_among_fewer(config: TrainConfig) -> None:
    whole = memory.make(config, FSDP)
    hybrid = memory.make(config, replace(FSDP, shards=4))
    assert hybrid.states[0].bytes == pytest.approx(2 * whole.states[0].bytes, abs=4)


@pytest.mark.parametrize(("stage", "bytes_per_parameter"), [(1, 2 + 2 + 12 / 8), (2, 2 + 14 / 8), (3, 16 / 8)])
def test_zero_shares_more_with_every_stage(config: TrainConfig, stage: int, bytes_per_parameter: float) -> None:
    """Rajbhandari et al., "ZeRO" (arXiv 1910.02054), figure 1: 2 + 2 + 12 bytes per parameter."""
    sizes = sharding.measure(build_on_meta(config), [])
    launch = Parallel(strategy=f"zero{stage}", processes=8, shards=8)  # type: ignore[arg-type]
    states = sharding.states(sizes, launch, width=2, averages=False)
    assert sum(part.bytes for part in states) == pytest.approx(bytes_per_parameter * sizes.all, abs=4)


def test_what_is_frozen_needs_neither_gradients_nor_moments(config: TrainConfig) -> None:
    policy = replace(config.policy, freeze=FreezeConfig(vision_encoder=True, word_embeddings=True))
    plan = memory.make(replace(config, policy=policy), Parallel(strategy="single"))
    full = memory.make(config, Parallel(strategy="single"))
    assert plan.sizes.all == full.sizes.all
    assert plan.sizes.trained < full.sizes.trained
    assert parts(plan)["gradients, float32"] == 4 * plan.sizes.trained
    assert parts(plan)["activations"] < parts(full)["activations"]


def test_adapters_train_little(config: TrainConfig) -> None:
    policy = replace(config.policy, lora=LoraConfig(rank=2, alpha=4.0))
    plan = memory.make(replace(config, policy=policy), Parallel(strategy="single"))
    assert plan.sizes.trained < plan.sizes.all / 2


def test_recomputing_keeps_less(config: TrainConfig) -> None:
    kept = parts(memory.make(config, FSDP))["activations"]
    recomputed = parts(memory.make(replace(config, gradient_checkpointing=True), FSDP))["activations"]
    assert recomputed < kept / 2


def test_activations_are_what_autograd_saves(config: TrainConfig) -> None:
    policy, batch = real_policy(config)
    known = {tensor.untyped_storage().data_ptr() for tensor in (*policy.parameters(), *policy.buffers(), *batch)}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = policy(*batch).sum()
    really = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    planned = parts(memory.make(config, Parallel(strategy="single")))["activations"]
    assert loss.requires_grad
    assert planned == pytest.approx(really, rel=0.01)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_the_peak_is_what_the_allocator_sees(config: TrainConfig, gradient_checkpointing: bool) -> None:
    """PyTorch's profiler records every allocation of its CPU allocator, those inside of operations included."""
    policy, batch = real_policy(config)
    if gradient_checkpointing:
        policy.backbone.enable_gradient_checkpointing()
    for parameter in policy.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: setattr(parameter, "grad", None))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        policy(*batch).sum().backward()
    events = recorded.profiler.kineto_results.events()
    live = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    planned = memory.make(
        replace(config, gradient_checkpointing=gradient_checkpointing), Parallel(strategy="single")
    ).moments["forward and backward pass"]
    assert sum(part.bytes for part in planned if part.name != "batch") == pytest.approx(peak, rel=0.01)


def test_autocast_keeps_copies_of_the_weights(config: TrainConfig) -> None:
    plan = memory.make(replace(config, precision="bf16"), Parallel(strategy="single"))
    matrices = [m for m in build_on_meta(config).modules() if isinstance(m, nn.Linear)]
    weights = sum(parameter.numel() for matrix in matrices for parameter in matrix.parameters())
    # the patch convolution, which runs as a matrix, is no nn.Linear
    assert parts(plan)["weights cast by autocast"] == pytest.approx(2 * weights, rel=0.5)
    assert parts(plan)["weights cast by autocast"] >= 2 * sum(m.weight.numel() for m in matrices)


def test_a_tensor_that_is_let_go_counts_no_longer() -> None:
    layer = nn.Linear(4, 4, bias=False)
    inputs = torch.zeros(2, 4)
    passes = count(layer, lambda: layer(inputs).square().sum(), (inputs,))
    product, square, scalar = 32, 32, 4
    # the square is gone once it is summed; its input and the loss stay
    assert passes.activations == product + scalar
    assert passes.peak >= product + square
    assert passes.batch == 32


def test_the_plan_says_what_helps_where_it_does_not_fit(config: TrainConfig) -> None:
    plan = memory.make(config, Parallel(strategy="ddp", processes=2))
    assert "fits into 80 GiB" in plan.text(80)
    text = plan.text(plan.total_bytes / memory.GIB / 2)
    assert "does not fit" in text
    assert "gradient_checkpointing: true" in text
    assert "FSDP, 2 processes" in text


def test_a_batch_that_cannot_be_shared_is_refused(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="multiple of processes \\* accumulation_steps = 32, got 16"):
        memory.plan(config, ACCELERATE / "fsdp_32gpu.yaml")


def test_sizes_that_only_the_hub_knows_are_asked_for(config: TrainConfig) -> None:
    policy = replace(config.policy, weights="nobody/nothing", backbone_config=None, tokenizer_vocabulary=None)
    with pytest.raises(ConfigError, match=r"policy\.backbone_config: expected the sizes of nobody/nothing"):
        memory.make(replace(config, policy=policy), FSDP)


def test_the_layers_that_fsdp_gathers_are_decoder_layers(config: TrainConfig) -> None:
    backbone = build_on_meta(config).backbone
    assert parallel.decoder_layers(backbone.model, backbone.language_model) == ["Qwen3VLTextDecoderLayer"]
