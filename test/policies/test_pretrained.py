"""Folders as the hub has them, written by transformers' own full models, into backbones."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE

from test.policies.case import Case
from test.policies.cases import CASES, run
from vla_ros.errors import ConfigError
from vla_ros.policies import registry
from vla_ros.policies.attention import IMPLEMENTATION
from vla_ros.policies.pretrained import find_folder, load_backbone, load_tokenizer

PUBLISHED = [case for case in CASES if case.recipe == "paper"]
every_case = pytest.mark.parametrize("case", PUBLISHED, ids=str)
DENSE = next(case for case in PUBLISHED if case.name == "qwen3_vl")


def publish(case: Case, folder: Path, **options: Any) -> Any:
    """The full model of a case with drawn weights, written by its own `save_pretrained`."""
    torch.manual_seed(0)
    full = case.full_model._from_config(registry.family(case.family).read_config(case.config)).eval()
    for parameter in full.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for module in full.modules():
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
            torch.nn.init.zeros_(module.weight[module.padding_idx])  # as training leaves it
    full.save_pretrained(folder, **options)
    return full


def load(case: Case, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return load_backbone(str(folder), case.config, case.layout, case.family, dtype)


@every_case
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
@torch.no_grad()
def test_a_published_model_is_loaded_as_it_is(case: Case, shard: str, tmp_path: Path) -> None:
    full = publish(case, tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "20KB")
    backbone = load(case, tmp_path).eval()
    unmodified = case.unmodified(backbone)
    published = full.state_dict()
    for name, weight in unmodified.state_dict().items():
        assert torch.equal(weight, published.get(name, published.get(f"model.{name}"))), name
    inputs = case.inputs()
    expected = case.reference(case, unmodified, *inputs.row(0), inputs.queries)[-1]
    torch.testing.assert_close(run(backbone, inputs)[0, 0], expected, atol=3e-5, rtol=1e-5)


@every_case
def test_weights_come_in_the_dtype_asked_for_and_with_our_attention(case: Case, tmp_path: Path) -> None:
    publish(case, tmp_path)
    backbone = load(case, tmp_path, torch.bfloat16)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.bfloat16}
    assert backbone.model.config._attn_implementation == IMPLEMENTATION


@every_case
def test_a_config_may_be_left_to_the_folder(case: Case, tmp_path: Path) -> None:
    publish(case, tmp_path)
    backbone = load_backbone(str(tmp_path), None, case.layout, case.family, torch.float32)
    assert backbone.hidden_size == 24


@every_case
def test_a_field_that_disagrees_is_named(case: Case, tmp_path: Path) -> None:
    publish(case, tmp_path)
    config = {**case.config, "text_config": {**case.config["text_config"], "vocab_size": 65}}
    with pytest.raises(ConfigError, match=r"backbone_config\.text_config\.vocab_size: expected 64 .* got 65"):
        load_backbone(str(tmp_path), config, case.layout, case.family, torch.float32)


def test_qwens_published_configs_agree_with_ours_in_their_older_layout(tmp_path: Path) -> None:
    """The hub's config.json of Qwen3-VL names the rotary embedding as transformers 4 did."""
    publish(DENSE, tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    rope = written["text_config"].pop("rope_parameters")
    written["text_config"]["rope_theta"] = rope.pop("rope_theta")
    written["text_config"]["rope_scaling"] = {**rope, "mrope_interleaved": True}
    written["vision_config"]["model_type"] = "qwen3_vl"
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert load(DENSE, tmp_path).hidden_size == 24


def test_another_family_is_refused(tmp_path: Path) -> None:
    publish(DENSE, tmp_path)
    with pytest.raises(ConfigError, match=r"config\.json: model_type: expected one of qwen2_5_vl, got 'qwen3_vl'"):
        load_backbone(str(tmp_path), None, DENSE.layout, "qwen2_5_vl", torch.float32)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    full = publish(DENSE, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(full.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"expected safetensors.*no file named model\.safetensors"):
        load(DENSE, tmp_path)


@pytest.mark.parametrize("kind", ["missing", "unexpected"])
def test_a_weight_too_few_or_too_many_is_an_error(kind: str, tmp_path: Path) -> None:
    publish(DENSE, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    if kind == "missing":
        del weights["model.language_model.norm.weight"]
    else:
        weights["model.language_model.norm.bias"] = torch.zeros(24)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=rf"got 1 {kind}, such as .*norm"):
        load(DENSE, tmp_path)


def test_a_weight_of_another_shape_is_an_error(tmp_path: Path) -> None:
    publish(DENSE, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.language_model.norm.weight"] = torch.zeros(25)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"got 1 of another shape, such as .*norm\.weight \[25\] for \[24\]$"):
        load(DENSE, tmp_path)


def test_weights_of_another_family_under_this_ones_config_are_an_error(tmp_path: Path) -> None:
    publish(next(case for case in PUBLISHED if case.family == "qwen2_5_vl"), tmp_path / "other")
    publish(DENSE, tmp_path)
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"expected the model's weights, got \d+ missing, such as \S+$"):
        load(DENSE, tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    publish(DENSE, tmp_path, max_shard_size="20KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ConfigError, match=rf"expected safetensors of a qwen3_vl model, got .*{shard.name}"):
        load(DENSE, tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"weight_map": {"visual.pos_embed.weight": "../../etc/passwd"}}'])
def test_a_damaged_index_of_the_shards_is_an_error(text: str, tmp_path: Path) -> None:
    publish(DENSE, tmp_path, max_shard_size="20KB")
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ConfigError, match=r"expected safetensors of a qwen3_vl model, got \w+Error: "):
        load(DENSE, tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_config": 3}, r"config\.json: expected the config of a qwen3_vl model, got "),
        ({"dtype": "float99"}, r"config\.json: expected the config of a qwen3_vl model, got "),
        (
            {"text_config": {"num_attention_heads": 0}},
            "expected safetensors of a qwen3_vl model, got ZeroDivisionError",
        ),
        (
            {"quantization_config": {"quant_method": "fp8"}},
            r"config\.json: quantization_config: expected nothing, .* got",
        ),
    ],
)
def test_a_config_that_makes_no_model_is_an_error(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    publish(DENSE, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    with pytest.raises(ConfigError, match=message):
        load_backbone(str(tmp_path), None, DENSE.layout, "qwen3_vl", torch.float32)


def test_code_in_the_folder_is_not_run(tmp_path: Path) -> None:
    publish(DENSE, tmp_path)
    path = tmp_path / "config.json"
    code = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": code}))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    load(DENSE, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_files_may_be_links_as_in_the_hubs_cache(tmp_path: Path) -> None:
    publish(DENSE, tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for file in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    assert load(DENSE, tmp_path / "snapshot").hidden_size == 24


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    publish(DENSE, tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"expected safetensors of a qwen3_vl model"):
        load(DENSE, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_config_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json: expected a model's config"):
        load(DENSE, tmp_path)


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"'Qwen/Qwen3-VL-2B-Instruct'.*hf download Qwen/Qwen3-VL-2B-Instruct"):
        find_folder("Qwen/Qwen3-VL-2B-Instruct")


def test_a_folder_that_does_not_exist_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"policy\.weights: expected a local folder"):
        find_folder("/no/such/folder")


def test_the_tokenizer_is_read_from_its_one_file(tmp_path: Path) -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.add_special_tokens(["<|image_pad|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(str(tmp_path)).token_to_id("<|image_pad|>") == 0


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_tokenizer_that_is_missing_or_damaged_is_an_error(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ConfigError, match=r"tokenizer\.json: expected"):
        load_tokenizer(str(tmp_path))
