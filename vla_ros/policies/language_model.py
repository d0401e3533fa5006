"""A whole vision-language model: a backbone and the language head that transformers' own full model has on top."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from vla_ros.errors import ConfigError
from vla_ros.policies.backbone import Backbone
from vla_ros.policies.pretrained import find_folder

IGNORED = -100
"""The label behind the end of an answer that is shorter than the others, as torch's cross-entropy has it."""


class LanguageModel(nn.Module):
    """Reads one image and a text, and says which token comes next.

    Attributes:
        backbone: everything below the language head.
        head: of the language; None where the model's config ties it to the word embeddings.
    """

    def __init__(self, backbone: Backbone, weights: str | None = None) -> None:
        """Put the language head on a backbone.

        Args:
            weights: hub id or local folder that an untied head is read from; None draws it.

        Raises:
            ConfigError: there is no head in `weights`, or it is of another shape.
        """
        super().__init__()
        self.backbone = backbone
        self.head: nn.Linear | None = None
        config = backbone.model.config
        output = empty_full_model(config).get_output_embeddings()
        if not has_tied_head(config):
            self.head = nn.Linear(output.in_features, output.out_features, bias=False)
            nn.init.normal_(self.head.weight, std=output.in_features**-0.5)
            if weights is not None:
                self.head.weight = nn.Parameter(_read_head(find_folder(weights), self.head.weight.shape))

    @property
    def vocabulary(self) -> int:
        """Tokens that it can say; the last ones may be in no tokenizer."""
        return len(self._head_weight())

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        positions: Tensor,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Learns answers, or without labels only says what it expects.

        Args:
            pixel_values: float [batch, patches, features].
            input_ids: int64 [batch, tokens], prompts with their answers.
            positions: int64 [batch, answers], the tokens whose next one is asked for: a vocabulary of 150 thousand is
                not scored behind every image token.
            labels: int64 [batch, answers], those next tokens, or IGNORED.
            weights: float [batch], what each token of an answer counts for in the sums; None takes their mean.

        Returns:
            With labels the weighted sums over all but the ignored ones: `loss`, the cross-entropy [nats], and
            `token_accuracy`, the share that is said right. Without them `scores`, float32 [batch, answers, vocabulary].
        """
        hidden = self.backbone.hidden_states(pixel_values, input_ids)
        hidden = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        scores = nn.functional.linear(hidden, self._head_weight()).float()
        if labels is None:
            return {"scores": scores}
        counts = labels != IGNORED
        share = 1 / counts.sum() if weights is None else weights[:, None]
        losses = nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
        is_right = scores.detach().argmax(-1) == labels
        return {"loss": (losses.view_as(labels) * share).sum(), "token_accuracy": (is_right * counts * share).sum()}

    def save_pretrained(self, folder: Path, tokenizer: Tokenizer, companions: dict[str, str]) -> None:
        """Write the Hugging Face layout, in the dtype that the weights have; `folder` appears when it is whole.

        Args:
            companions: further texts by file name.
        """
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        full = empty_full_model(self.backbone.model.config)
        full.load_state_dict(self._full_state(full), assign=True)
        full.tie_weights()
        full.save_pretrained(partial)
        tokenizer.save(str(partial / "tokenizer.json"))
        for name, text in companions.items():
            (partial / name).write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)

    def _head_weight(self) -> Tensor:
        # a tied head is no module of its own: FSDP would shard the same weights twice
        embeddings = self.backbone.word_embeddings.weight if self.head is None else self.head.weight
        assert isinstance(embeddings, Tensor)
        return embeddings

    def _full_state(self, full: PreTrainedModel) -> dict[str, Tensor]:
        head = full.get_output_embeddings()
        name = next(name for name, module in full.named_modules() if module is head)
        # Kosmos-2 holds the parts of its base model directly
        base = full.base_model_prefix
        prefix = f"{base}." if base and hasattr(full, base) else ""
        state = {prefix + key: value for key, value in self.backbone.model.state_dict().items()}
        return state | {f"{name}.weight": self._head_weight().detach()}


def empty_full_model(config: PreTrainedConfig) -> PreTrainedModel:
    """transformers' own model with its language head, on the meta device."""
    with torch.device("meta"):
        cls: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
        full: PreTrainedModel = cls._from_config(config)
    return full


def has_tied_head(config: PreTrainedConfig) -> bool:
    """Whether the language head is the word embeddings."""
    full = empty_full_model(config)
    return full.get_output_embeddings().weight is full.get_input_embeddings().weight


def _read_head(folder: Path, shape: torch.Size) -> Tensor:
    """The weights of the language head, wherever in the model a repository has them."""
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (no mapping)
                    if name.endswith("lm_head.weight"):
                        head: Tensor = file.get_tensor(name).float()
                        if head.shape != shape:
                            raise ConfigError(f"{path}: {name}: expected {list(shape)}, got {list(head.shape)}")
                        return head
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{folder}: expected safetensors, got: {error}") from error
    raise ConfigError(f"{folder}: lm_head.weight: expected the weights of the language head, got nothing")
