"""Action chunks in the vocabulary of a language model, and what is measured of them."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer, models  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from test.train.tiny_vlm import write_fast_config  # noqa: E402
from vla_ros import config  # noqa: E402
from vla_ros.errors import ConfigError, ContractError  # noqa: E402
from vla_ros.train.vlm_actions import ActionExamples, choose_rows  # noqa: E402
from vla_ros.train.vlm_config import VlmConfig  # noqa: E402
from vla_ros.train.vlm_task import VlmTask, load_data, make_task  # noqa: E402
from vla_ros.train.vlm_validation import ActionValidation, AnswerValidation  # noqa: E402


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> VlmTask:
    settings = config.load(write_fast_config(tmp_path_factory.mktemp("task")), VlmConfig)
    return make_task(settings, load_data(settings, show_progress=False))


@pytest.fixture(scope="module")
def held_out(task: VlmTask) -> ActionExamples:
    validation = task.validations[1]
    assert isinstance(validation, ActionValidation)
    return validation.examples


@pytest.fixture
def tokenizer() -> Tokenizer:
    """Ids 0 to 9 are letters, 10 and 11 special tokens."""
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate("abcdefghij")}, []))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def test_action_tokens_are_the_last_rows_but_the_special_ones(tokenizer: Tokenizer) -> None:
    assert choose_rows(tokenizer, vocabulary=14, count=5, used={0, 1, 10}).tolist() == [13, 12, 9, 8, 7]


def test_an_action_token_that_a_prompt_uses_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ContractError, match=r"5 tokens to spare, got one with 14 in all, and its prompts use 'h'"):
        choose_rows(tokenizer, vocabulary=14, count=5, used={7})


def test_too_few_rows_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ContractError, match=r"13 tokens to spare, got one with 14 in all; name fewer"):
        choose_rows(tokenizer, vocabulary=14, count=13, used=set())


def test_only_frames_with_a_whole_chunk_are_asked_about(held_out: ActionExamples) -> None:
    assert held_out.frames.tolist() == list(range(9))  # of one episode of 12 steps, chunks of 4


def test_an_answer_holds_the_action_within_the_quantisation(held_out: ActionExamples) -> None:
    _, answered = held_out.take(np.arange(9))
    number_of = {int(row): number for number, row in enumerate(held_out.vocabulary.rows)}
    for row, truth in zip(answered, held_out.actions(np.arange(9)), strict=True):
        assert row.answer[-1] == held_out.vocabulary.end_id
        fast = held_out.vocabulary.fast
        outputs = fast.decode(np.array([number_of[int(token)] for token in row.answer[:-1]]))
        targets = held_out.normalizer.normalize(truth)
        error = outputs[:, :6] - targets[:, :6]
        assert np.sqrt((error**2).mean(axis=0)).max() <= fast.rms_error + 1e-6
        actions = held_out.normalizer.unnormalize(outputs)
        np.testing.assert_array_equal(actions[:, 6] > 0.5, truth[:, 6] > 0.5)


class Oracle(nn.Module):
    """Knows the answer of every image, and says token `wrong_at` of it wrongly."""

    def __init__(self, examples: ActionExamples, vocabulary: int, wrong_at: int | None = None) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self._pixels, self._answered = examples.take(np.arange(len(examples)))
        self._vocabulary, self._wrong_at = vocabulary, wrong_at

    def forward(self, pixel_values: Tensor, input_ids: Tensor, positions: Tensor) -> dict[str, Tensor]:
        scores = torch.zeros(len(pixel_values), 1, self._vocabulary)
        for row, pixels in enumerate(pixel_values):
            number = int((self._pixels == pixels).flatten(1).all(1).nonzero()[0])
            answered = self._answered[number]
            place = int(positions[row, 0]) - len(answered.prompt) + 1
            said = input_ids[row, len(answered.prompt) : len(answered.prompt) + place]
            if self._wrong_at is None:
                assert said.tolist() == answered.answer[:place].tolist()  # what was said is what is read next
            if place < len(answered.answer) and place != self._wrong_at:
                scores[row, 0, answered.answer[place]] = 1.0
        return {"scores": scores}


def test_a_model_that_says_the_truth_has_only_the_errors_of_quantisation(
    task: VlmTask, held_out: ActionExamples
) -> None:
    vocabulary = task.module.vocabulary
    assert isinstance(vocabulary, int)
    figures = ActionValidation(held_out, 0).measure(Oracle(held_out, vocabulary))
    assert figures["val_gripper_percent"] == 100.0
    # half the range of a random action's 0.025 m, a twentieth of that in the root mean square
    assert figures["val_translation_mm"] < 3**0.5 * 25 / 20
    assert figures["val_translation_mm"] > 0
    wrong = ActionValidation(held_out, 0).measure(Oracle(held_out, vocabulary, wrong_at=0))
    assert wrong["val_translation_mm"] > figures["val_translation_mm"]


def test_an_untrained_model_says_whole_chunks_as_well(task: VlmTask) -> None:
    with torch.no_grad():
        figures = task.validate(task.module.eval())
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["val_loss"] == pytest.approx(np.log(int(task.module.vocabulary)), rel=0.2)  # type: ignore[arg-type]


def test_held_out_tokens_are_counted_once_each(task: VlmTask, held_out: ActionExamples) -> None:
    """The loss does not depend on how the examples are cut into batches."""
    with torch.no_grad():
        module = task.module.eval()
        figures = AnswerValidation(held_out, 0).measure(module)
        sums, count = 0.0, 0
        for number in range(len(held_out)):
            pixels, (answered,) = held_out.take(np.array([number]))
            ids = torch.from_numpy(np.concatenate([answered.prompt, answered.answer]))[None]
            start, end = len(answered.prompt), ids.shape[1]
            labels = ids[:, start:]
            outputs = module(pixels, ids, torch.arange(start - 1, end - 1)[None], labels)
            sums += outputs["loss"].item() * labels.numel()
            count += labels.numel()
    assert figures["val_loss"] == pytest.approx(sums / count, rel=1e-5)


def test_a_config_with_adapters_is_refused(tmp_path: Path) -> None:
    path = write_fast_config(tmp_path)
    path.write_text(path.read_text().replace("policy:\n", "policy:\n  lora: {rank: 4, alpha: 8.0}\n"))
    with pytest.raises(ConfigError, match=r"policy.lora: expected none, as the whole model is written in the end"):
        config.load(path, VlmConfig)
