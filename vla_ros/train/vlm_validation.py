"""How well a language model answers: on held-out examples, and, for actions, in millimetres and degrees."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.policies.language_model import IGNORED
from vla_ros.train.policy_task import action_errors
from vla_ros.train.task import Batch
from vla_ros.train.vlm_actions import ActionExamples
from vla_ros.train.vlm_data import Examples, make_batch, spread

BATCH = 16
MAX_EXAMPLES = 512
MAX_CHUNKS = 64
"""Chunks that are said token by token, each a forward pass of its own."""


@dataclass(frozen=True, slots=True)
class AnswerValidation:
    """Loss and accuracy of the answers' tokens, given the right ones before them."""

    examples: Examples
    pad_id: int

    def measure(self, module: nn.Module) -> dict[str, float]:
        """`val_loss` [nats per token] and `val_token_percent`."""
        sums, count = {"loss": 0.0, "token_accuracy": 0.0}, 0
        for numbers in _portions(spread(len(self.examples), MAX_EXAMPLES)):
            batch = make_batch(*self.examples.take(numbers), self.pad_id)
            tokens = int((batch["labels"] != IGNORED).sum())
            figures = module(**_on_device(batch, module))
            sums = {name: value + tokens * figures[name].item() for name, value in sums.items()}
            count += tokens
        return {"val_loss": sums["loss"] / count, "val_token_percent": 100 * sums["token_accuracy"] / count}


@dataclass(frozen=True, slots=True)
class ActionValidation:
    """Errors of the chunks that a model says by itself, the likeliest token after the other."""

    examples: ActionExamples
    pad_id: int

    def measure(self, module: nn.Module) -> dict[str, float]:
        """See `action_errors`."""
        numbers = spread(len(self.examples), MAX_CHUNKS)
        outputs = np.concatenate([self._say(module, portion) for portion in _portions(numbers)])
        truth = self.examples.actions(numbers)
        return action_errors(self.examples.normalizer.unnormalize(outputs), truth, np.ones(truth.shape[:2], np.bool_))

    def _say(self, module: nn.Module, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Outputs [n, chunk_size, 7] for an ActionNormalizer; all are whole: tokens that say too much are no choice."""
        fast, rows = self.examples.vocabulary.fast, torch.from_numpy(self.examples.vocabulary.rows)
        sizes = torch.from_numpy(fast.sizes)
        pixels, answered = self.examples.take(numbers)
        missing = torch.full((len(numbers),), fast.coefficients)
        last = torch.tensor([len(row.prompt) - 1 for row in answered])
        ids = torch.full((len(numbers), int(last.max()) + 1 + fast.coefficients), self.pad_id)
        for row, target in zip(answered, ids, strict=True):
            target[: len(row.prompt)] = torch.from_numpy(row.prompt)
        said: list[list[int]] = [[] for _ in numbers]
        while missing.any():
            batch = {"pixel_values": pixels, "input_ids": ids[:, : int(last.max()) + 1], "positions": last[:, None]}
            scores: Tensor = module(**_on_device(batch, module))["scores"].cpu()[:, 0, rows]
            choice = scores.masked_fill(sizes[None] > missing[:, None], -torch.inf).argmax(-1)
            (open_rows,) = missing.nonzero(as_tuple=True)
            last[open_rows] += 1
            ids[open_rows, last[open_rows]] = rows[choice[open_rows]]
            missing[open_rows] -= sizes[choice[open_rows]]
            for row in open_rows.tolist():
                said[row].append(int(choice[row]))
        return np.stack([fast.decode(np.array(tokens, np.int64)) for tokens in said])


def _portions(numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]


def _on_device(batch: Batch, module: nn.Module) -> Batch:
    device = next(module.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}
