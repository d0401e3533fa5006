"""The fine-tuning of a vision-language model as a task of the training loop."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn

from vla_ros.errors import ConfigError, VlaRosError
from vla_ros.processing.normalization import ActionNormalizer
from vla_ros.train import checkpoint
from vla_ros.train.build import build_prompt_encoder
from vla_ros.train.data import TrainingData
from vla_ros.train.data import load_data as load_demonstrations
from vla_ros.train.policy_batches import SampleEncoder
from vla_ros.train.task import BatchSource
from vla_ros.train.vlm_actions import ActionExamples, ActionVocabulary, choose_rows, train_fast
from vla_ros.train.vlm_build import build_language_model
from vla_ros.train.vlm_config import FastConfig, VlmConfig
from vla_ros.train.vlm_data import Examples, QuestionData, QuestionExamples, RandomBatches, load_questions
from vla_ros.train.vlm_prompt import end_token_id, pad_token_id
from vla_ros.train.vlm_validation import ActionValidation, AnswerValidation

MODEL = "model"
"""The folder of a run that holds the fine-tuned model."""

FAST = "fast.json"
"""Without it nobody can read what the model says."""


class Validation(Protocol):
    """Figures of a model on held-out examples."""

    def measure(self, module: nn.Module) -> dict[str, float]:
        """By name with the unit at the end."""
        ...


@dataclass(slots=True, kw_only=True)
class VlmTask:
    """See `task.Task`.

    Attributes:
        tokenizer: of the model.
        examples: how many there are to train on.
        spare_tokens: what the model must have beyond its tokenizer, where its weights are random.
        validations: what is measured on held-out examples.
    """

    module: nn.Module
    train: BatchSource
    companions: dict[str, str]
    tokenizer: Tokenizer
    examples: int
    spare_tokens: int
    validations: tuple[Validation, ...]
    better: str = "val_loss"

    def validate(self, module: nn.Module) -> dict[str, float]:
        """See `Task.validate`."""
        return {name: figure for validation in self.validations for name, figure in validation.measure(module).items()}


def action_task(config: VlmConfig, fast: FastConfig, data: TrainingData, pretrained: bool = True) -> VlmTask:
    """To say FAST tokens of the actions that follow a camera frame.

    Args:
        pretrained: False does not read the pretrained weights, for a checkpoint that replaces them anyhow.

    Raises:
        ConfigError: the model cannot be built, or `fast.vocabulary` is too small.
        ContractError: the actions cannot be normalised, or the model has no tokens to spare for them.
        DatasetError: no episode has a whole chunk, or an instruction is too long.
    """
    policy, tokenizer = config.policy, data.tokenizer
    normalizer = ActionNormalizer(data.statistics, fast.arm_bounds, config.recipe)
    try:
        bpe = train_fast(data.train, normalizer, fast.vocabulary, fast.scale)
    except ValueError as error:
        raise ConfigError(f"fast.{error}") from error
    prompts = build_prompt_encoder(tokenizer, policy, config.recipe)
    both = (data.train, data.validation)
    encoders = [SampleEncoder(windows, policy.image, prompts, policy.action_queries) for windows in both]
    used = {int(i) for windows in both for text in windows.instructions for i in prompts.encode(text).input_ids}
    module = build_language_model(config, tokenizer, len(bpe), pretrained)
    rows = choose_rows(tokenizer, module.vocabulary, len(bpe), used)
    vocabulary = ActionVocabulary(bpe, rows, end_token_id(tokenizer, policy.prompt))
    train, held_out = (
        ActionExamples(windows, encoder, normalizer, vocabulary, fast.augmentation)
        for windows, encoder in zip(both, encoders, strict=True)
    )
    weights = data.train.sampling_weights(fast.data.phase_weights)[train.frames]
    pad_id = pad_token_id(tokenizer, policy.prompt)
    return VlmTask(
        module=module,
        train=_batches(config, train, weights / weights.sum(), pad_id),
        companions=data.companions | {FAST: bpe.to_json()},
        tokenizer=tokenizer,
        examples=len(train),
        spare_tokens=len(bpe),
        validations=(AnswerValidation(held_out, pad_id), ActionValidation(held_out, pad_id)),
    )


def question_task(config: VlmConfig, data: QuestionData, pretrained: bool = True) -> VlmTask:
    """To answer questions about images.

    Args:
        pretrained: as in `action_task`.

    Raises:
        ConfigError: the model cannot be built.
    """
    policy = config.policy
    pad_id = pad_token_id(data.tokenizer, policy.prompt)
    train, held_out = (
        QuestionExamples(data.file, lines, policy.image, data.encoder) for lines in (data.train, data.validation)
    )
    return VlmTask(
        module=build_language_model(config, data.tokenizer, 0, pretrained),
        train=_batches(config, train, np.full(len(train), 1 / len(train)), pad_id),
        companions={"tokenizer.json": data.tokenizer.to_str(pretty=True)},
        tokenizer=data.tokenizer,
        examples=len(train),
        spare_tokens=0,
        validations=(AnswerValidation(held_out, pad_id),),
    )


def _batches(config: VlmConfig, examples: Examples, weights: NDArray[np.float64], pad_id: int) -> RandomBatches:
    return RandomBatches(examples, weights, config.optimizer.batch_size, pad_id, config.seed)


def load_data(config: VlmConfig, skip_bad: bool = False, show_progress: bool = True) -> TrainingData | QuestionData:
    """Read and check what the config names, before anything is trained on it; see `data` and `vlm_data`."""
    if config.fast is not None:
        return load_demonstrations(config.as_policy_training(config.fast), skip_bad, show_progress)
    assert config.vqa is not None  # VlmConfig refuses it
    return load_questions(config, config.vqa, skip_bad, show_progress)


def make_task(config: VlmConfig, data: TrainingData | QuestionData, pretrained: bool = True) -> VlmTask:
    """The task on these data; see `action_task` and `question_task`."""
    if isinstance(data, QuestionData):
        return question_task(config, data, pretrained)
    assert config.fast is not None
    return action_task(config, config.fast, data, pretrained)


def write_model(config: VlmConfig, task: VlmTask) -> Path:
    """Write the best checkpoint of a finished run as a model of the Hugging Face layout; its folder.

    Raises:
        DatasetError: there is no checkpoint.
        VlaRosError: the disk does not take it; the same command writes it later.
    """
    module = build_language_model(config, task.tokenizer, task.spare_tokens, pretrained=False)
    module.load_state_dict(checkpoint.load_model(checkpoint.best(config.output)))
    folder = config.output / MODEL
    try:
        module.save_pretrained(folder, task.tokenizer, task.companions)
    except (OSError, SafetensorError) as error:
        raise VlaRosError(f"{folder}: expected to write the model, got: {error}; run the same command again") from error
    return folder
