"""What every backbone must do, on tiny models of the real architectures."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from test.policies.case import BATCH, TEXT_IDS, Case
from test.policies.cases import CASES, run
from vla_ros.errors import ConfigError
from vla_ros.policies import registry
from vla_ros.policies.freeze import freeze
from vla_ros.policies.vla_policy import VLAPolicy

every_case = pytest.mark.parametrize("case", CASES, ids=str)

# as transformers names them
VISION_ENCODERS = {
    "kosmos2": "vision_model.",
    "paligemma": "vision_tower.",
    "qwen2_5_vl": "visual.",
    "qwen3_vl": "visual.",
}


@every_case
@torch.no_grad()
def test_hidden_states_equal_the_unmodified_transformers_forward(case: Case) -> None:
    backbone = case.build()
    unmodified = case.unmodified(backbone)
    inputs = case.inputs(queries=2)
    hidden = backbone(inputs.pixel_values, inputs.input_ids, inputs.query_index, inputs.queries)
    for row in range(2):
        expected = case.reference(case, unmodified, *inputs.row(row), inputs.queries)[-2:]
        torch.testing.assert_close(hidden[row], expected, atol=3e-5, rtol=1e-5)


@every_case
@torch.no_grad()
def test_what_stands_behind_the_queries_changes_nothing(case: Case) -> None:
    backbone = case.build()
    inputs = case.inputs(queries=1, padding=4)
    before = run(backbone, inputs)
    for row in range(BATCH):
        inputs.input_ids[row, inputs.query_index[row] + 1 :] = 7
    after = run(backbone, inputs)
    # tokens that go to one expert are one product, whose sums round by its size; on the exported graph, where all
    # experts run on all tokens, not a bit changes (test/export/test_graph.py)
    is_grouped = "moe" in case.name
    torch.testing.assert_close(after, before, atol=1e-6 if is_grouped else 0, rtol=1e-6 if is_grouped else 0)


@every_case
@torch.no_grad()
def test_every_patch_and_every_prompt_token_matters(case: Case) -> None:
    backbone = case.build()
    inputs = case.inputs()
    reference = run(backbone, inputs)
    for patch in range(inputs.pixel_values.shape[1]):
        changed = replace(inputs, pixel_values=inputs.pixel_values.clone())
        changed.pixel_values[:, patch] += 1
        assert not torch.allclose(run(backbone, changed), reference)
    end = int(inputs.query_index.min())
    image = range(case.image_start, case.image_start + case.image.image_tokens)
    for position in set(range(end)) - set(image):
        changed = replace(inputs, input_ids=inputs.input_ids.clone())
        changed.input_ids[:, position] = (inputs.input_ids[:, position] + 1) % TEXT_IDS
        assert not torch.allclose(run(backbone, changed), reference)


@every_case
@torch.no_grad()
def test_the_place_of_image_and_prompt_matters(case: Case) -> None:
    backbone = case.build()
    inputs = case.inputs()
    reference = run(backbone, inputs)
    swapped = replace(inputs, pixel_values=inputs.pixel_values.flip(1))
    assert not torch.allclose(run(backbone, swapped), reference)
    behind = case.image_start + case.image.image_tokens
    reordered = replace(inputs, input_ids=inputs.input_ids.clone())
    reordered.input_ids[:, behind : behind + 3] = inputs.input_ids[:, behind : behind + 3].flip(1)
    assert not torch.allclose(run(backbone, reordered), reference)


@every_case
@torch.no_grad()
def test_ids_under_image_and_queries_only_hold_places(case: Case) -> None:
    backbone = case.build()
    inputs = case.inputs(queries=2)
    reference = run(backbone, inputs)
    inputs.input_ids[:, case.image_start : case.image_start + case.image.image_tokens] = 3
    for row in range(BATCH):
        inputs.input_ids[row, inputs.query_index[row] : inputs.query_index[row] + 2] = 5
    assert torch.equal(run(backbone, inputs), reference)


@every_case
@torch.no_grad()
def test_a_query_sees_those_in_front_of_it_only(case: Case) -> None:
    backbone = case.build()
    three, two = case.inputs(queries=3, padding=3), case.inputs(queries=3, padding=3)
    two = replace(two, queries=three.queries[:2])
    torch.testing.assert_close(run(backbone, three)[:, :2], run(backbone, two), atol=3e-5, rtol=1e-5)
    changed = replace(three, queries=three.queries.clone())
    changed.queries[0] *= -1
    assert not torch.allclose(run(backbone, changed)[:, 2], run(backbone, three)[:, 2])


@every_case
@pytest.mark.parametrize("vision_encoder", [False, True])
@pytest.mark.parametrize("word_embeddings", [False, True])
def test_gradient_reaches_exactly_the_unfrozen_parameters(
    case: Case, vision_encoder: bool, word_embeddings: bool
) -> None:
    policy = case.policy()
    freeze(policy.backbone, vision_encoder, word_embeddings)
    squared_output(policy, case).backward()
    parts = [VISION_ENCODERS[case.family]] * vision_encoder + ["embed_tokens."] * word_embeddings
    if case.name == "qwen3_vl_moe-upstream":  # which leaves these out
        parts.append("visual.deepstack_merger_list.")
    frozen = {name for name, _ in policy.named_parameters() if any(f".{part}" in name for part in parts)}
    assert {name for name, parameter in policy.named_parameters() if not parameter.requires_grad} == frozen
    assert {name for name, parameter in policy.named_parameters() if is_untouched(parameter)} == frozen


@every_case
def test_gradient_checkpointing_changes_no_gradient(case: Case) -> None:
    policy = case.policy().train()
    squared_output(policy, case).backward()
    expected = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
    policy.zero_grad()
    policy.backbone.enable_gradient_checkpointing()
    kept = bytes_kept_for_backward(policy, case)
    for name, parameter in policy.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], atol=0, rtol=0, msg=name)
    assert kept < 0.7 * bytes_kept_for_backward(case.policy().train(), case)


@every_case
@torch.no_grad()
def test_saved_weights_give_the_same_answer(case: Case, tmp_path: Path) -> None:
    policy = case.policy()
    save_file(policy.state_dict(), tmp_path / "policy.safetensors")
    other = case.policy(seed=1)
    arguments = case.inputs().arguments
    assert not torch.equal(other(*arguments), policy(*arguments))
    other.load_state_dict(load_file(tmp_path / "policy.safetensors"))
    assert torch.equal(other(*arguments), policy(*arguments))


@every_case
@pytest.mark.parametrize("weights", ["rounded", "autocast"])
@torch.no_grad()
def test_bf16_is_close_to_fp32(case: Case, weights: str) -> None:
    """bfloat16 keeps 8 bits, so each addition to the residual stream rounds by up to 0.4 %; a dozen independent
    roundings add up like a random walk to about 1 %, which is also the worst that these models show. Twice that passes.
    """
    backbone = case.build()
    inputs = case.inputs()
    expected = run(backbone, inputs)
    if weights == "rounded":
        rounded = run(backbone.to(torch.bfloat16), inputs)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            rounded = run(backbone, inputs)
    error = (rounded.float() - expected).norm() / expected.norm()
    assert 0 < error < 0.02


@every_case
@torch.no_grad()
def test_rounding_the_weights_does_not_round_positions(case: Case) -> None:
    backbone = case.build()
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    backbone.to(torch.bfloat16)
    assert all(torch.equal(buffer, before[name]) for name, buffer in backbone.named_buffers())
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.bfloat16}


@every_case
def test_a_model_without_data_has_every_shape(case: Case) -> None:
    with torch.device("meta"):
        planned = registry.family(case.family).from_config(case.config, case.layout)
    shapes = {name: parameter.shape for name, parameter in planned.named_parameters()}
    assert shapes == {name: parameter.shape for name, parameter in case.build().named_parameters()}
    assert all(parameter.is_meta for parameter in planned.parameters())


@every_case
def test_an_unknown_field_is_refused(case: Case) -> None:
    misspelt = {**case.config, "text_config": {**case.config["text_config"], "vocab_sise": 64}}
    with pytest.raises(ConfigError, match=r"text_config\.vocab_sise: expected one of .*vocab_size.*, got"):
        registry.family(case.family).from_config(misspelt, case.layout)


@every_case
def test_sizes_that_make_no_model_are_refused(case: Case) -> None:
    heads = "attention_heads" if case.family == "kosmos2" else "num_attention_heads"
    impossible = {**case.config, "text_config": {**case.config["text_config"], heads: 0}}
    with pytest.raises(ConfigError, match=r"model_type: expected fields that make a .* model, got \w+Error: "):
        registry.family(case.family).from_config(impossible, case.layout)


@every_case
def test_an_image_of_other_patches_is_refused(case: Case) -> None:
    image = replace(case.image, patch_size_px=case.image.patch_size_px * 2, size_px=case.image.final_px * 2)
    with pytest.raises(ConfigError, match=r"patch_size: expected "):
        registry.family(case.family).from_config(case.config, replace(case.layout, image=image))


def squared_output(policy: VLAPolicy, case: Case) -> torch.Tensor:
    return policy(*case.inputs(queries=1).arguments).square().sum()


def is_untouched(parameter: torch.nn.Parameter) -> bool:
    return parameter.grad is None or not bool(parameter.grad.any())


def bytes_kept_for_backward(policy: VLAPolicy, case: Case) -> int:
    """What the forward pass keeps, then the backward pass, so that gradients are there too."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = squared_output(policy, case)
    for parameter in policy.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    loss.backward()
    return sum(kept.values())
