"""Real sizes without real memory: every shipped config has the parameters that the paper lists."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from vla_ros import config
from vla_ros.policies.size import PolicySize, measure
from vla_ros.train.config import PolicyConfig

POLICIES = Path(__file__).parents[2] / "config" / "policy"

# [M]; VLM4VLA, table 9 (heads, at 10 actions) and its list of models. A model's size is that of the published one: its
# language head counts, though a policy holds none, and is counted once where it is tied to the word embeddings.
PAPER = {
    "paligemma_3b_224": (2923, 6.577),
    "paligemma2_3b_224": (3032, 7.265),
    "kosmos_2": (1664, 6.577),
    "qwen2_5_vl_3b": (3755, 6.577),
    "qwen2_5_vl_7b": (8292, 11.690),
    "qwen3_vl_2b": (2128, 6.577),
    "qwen3_vl_4b": (4437, 8.019),
    "qwen3_vl_8b": (8767, 13.918),
    "qwen3_vl_30b_a3b": (31071, 6.577),
}


def size_of(name: str) -> PolicySize:
    policy = config.load(POLICIES / f"{name}.yaml", PolicyConfig)
    assert policy.backbone_config is not None
    return measure(policy.backbone, policy.backbone_config, policy.head, chunk_size=10)


@pytest.mark.parametrize("name", PAPER)
def test_model_and_head_have_the_papers_sizes(name: str) -> None:
    model, head = PAPER[name]
    size = size_of(name)
    assert size.language_model / 1e6 == pytest.approx(model, abs=1)  # the paper rounds up and down
    assert size.head / 1e6 == pytest.approx(head, abs=0.0005)


def test_a_policy_holds_no_language_head() -> None:
    tied, untied = size_of("qwen3_vl_4b"), size_of("qwen3_vl_8b")
    assert tied.backbone == tied.language_model
    assert untied.language_model - untied.backbone == 151936 * 4096
    assert untied.policy == untied.backbone + untied.head + 4096


def test_every_model_of_the_paper_is_shipped_and_nothing_else_but_the_demo() -> None:
    assert {path.stem for path in POLICIES.glob("*.yaml")} == {*PAPER, "libero_object_tiny", "libero_object_ten"}
