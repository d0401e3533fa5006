"""A small byte-level BPE with a family's special tokens, for policies that are trained from random weights."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from vla_ros.contract import TemplateName
from vla_ros.processing.template import TEMPLATES

# Qwen's own split: contractions, words with their leading space, single digits, punctuation, line ends, spaces
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(instructions: list[str], vocabulary: int, template: TemplateName) -> Tokenizer:
    """Learn merges from the family's templates and the instructions; any other text still encodes, byte by byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special_tokens = TEMPLATES[template].special_tokens
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=1,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # every template of the family, so that a policy can be given another prompt without another tokenizer
    family = [t for t in TEMPLATES.values() if t.special_tokens == special_tokens]
    corpus = [t.before + t.after.replace("{instruction}", i) for t in family for i in instructions]
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer
