"""A small byte-level BPE with Qwen's special tokens, for policies that are trained from random weights."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from vla_ros.processing.prompt import QWEN_SPECIAL_TOKENS, TEMPLATES

# Qwen's own split: contractions, words with their leading space, single digits, punctuation, line ends, spaces
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(instructions: list[str], vocabulary: int) -> Tokenizer:
    """Learn merges from the prompt template and the instructions; any other text still encodes, byte by byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=1,
        special_tokens=list(QWEN_SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [before + after.replace("{instruction}", i) for before, after in TEMPLATES.values() for i in instructions]
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer
