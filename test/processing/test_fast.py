"""FAST tokens: what comes back is what went in, within half an integer per coefficient."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from vla_ros.errors import BundleError, ConfigError
from vla_ros.processing.fast import FastTokenizer, UndecodableError

CHUNK = 6


def smooth_chunks(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Slow sine waves, as demonstrations are."""
    random = np.random.default_rng(seed)
    phase, rate = random.uniform(0, 6, (2, count, 1, 7))
    times = np.linspace(0, 0.5, CHUNK)[None, :, None]
    return np.sin(phase + rate * times).astype(np.float32)


@pytest.fixture(scope="module")
def tokenizer() -> FastTokenizer:
    return FastTokenizer.train(smooth_chunks(300), vocabulary=256, scale=10.0)


chunks = npst.arrays(np.float32, (CHUNK, 7), elements=st.floats(-1, 1, width=32))


@settings(max_examples=200)
@given(chunk=chunks)
def test_any_chunk_comes_back_within_the_bound(tokenizer: FastTokenizer, chunk: NDArray[np.float32]) -> None:
    error = tokenizer.decode(tokenizer.encode(chunk)) - chunk
    assert (np.sqrt((error**2).mean(axis=0)) <= tokenizer.rms_error + 1e-6).all()


@settings(max_examples=20, deadline=None)
@given(chunk=npst.arrays(np.float32, (9, 7), elements=st.sampled_from([-1.0, 1.0])), scale=st.floats(0.5, 200))
def test_the_ends_of_the_range_can_be_spelt_at_every_scale(chunk: NDArray[np.float32], scale: float) -> None:
    trained = FastTokenizer.train(np.zeros((1, 9, 7), np.float32), vocabulary=2000, scale=scale)
    error = trained.decode(trained.encode(chunk)) - chunk
    assert (np.sqrt((error**2).mean(axis=0)) <= trained.rms_error + 1e-6).all()


def test_the_first_symbols_are_the_means_of_the_dimensions_and_then_their_slopes() -> None:
    """A hand-computed chunk: without merges each symbol is one coefficient."""
    trained = FastTokenizer.train(np.zeros((1, 4, 7), np.float32), vocabulary=41, scale=10.0)
    chunk = np.zeros((4, 7), np.float32)
    chunk[:, 0] = 0.5  # the orthonormal DCT of a constant c over n steps is c * sqrt(n), here 1.0
    chunk[:, 2] = [0.3, 0.1, -0.1, -0.3]  # falls: a positive coefficient of half a period
    ids = trained.encode(chunk)
    zero = 20  # symbols are -20 ... 20
    assert len(ids) == 28
    assert ids[0] - zero == 10
    assert ids[1:7].tolist() == [zero] * 6
    assert ids[7 + 2] - zero == round(10 * np.sqrt(0.5) * (0.6 * np.cos(np.pi / 8) + 0.2 * np.cos(3 * np.pi / 8)))


def test_smooth_motion_takes_far_fewer_tokens_than_numbers(tokenizer: FastTokenizer) -> None:
    lengths = [len(tokenizer.encode(chunk)) for chunk in smooth_chunks(50, seed=1)]
    assert np.mean(lengths) < CHUNK * 7 / 2


def test_training_again_gives_the_same_tokenizer() -> None:
    first, second = (FastTokenizer.train(smooth_chunks(200), vocabulary=200, scale=10.0) for _ in range(2))
    assert first.to_json() == second.to_json()


def test_it_comes_back_from_its_file(tokenizer: FastTokenizer, tmp_path: Path) -> None:
    (tmp_path / "fast.json").write_text(tokenizer.to_json())
    loaded = FastTokenizer.load(tmp_path / "fast.json")
    chunk = smooth_chunks(1)[0]
    assert loaded.encode(chunk).tolist() == tokenizer.encode(chunk).tolist()
    assert loaded.decode(loaded.encode(chunk)).tolist() == tokenizer.decode(tokenizer.encode(chunk)).tolist()


@pytest.mark.parametrize("text", ["no JSON", "{}", "[1]", '{"chunk_size": 6, "scale": 10.0, "bpe": {}}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "fast.json").write_text(text)
    with pytest.raises(BundleError, match=r"fast.json: expected the JSON of a FAST tokenizer, got"):
        FastTokenizer.load(tmp_path / "fast.json")


def test_a_file_of_another_scale_than_its_vocabulary_is_refused(tokenizer: FastTokenizer, tmp_path: Path) -> None:
    fields = json.loads(tokenizer.to_json()) | {"scale": 1000.0}
    (tmp_path / "fast.json").write_text(json.dumps(fields))
    with pytest.raises(BundleError, match="without some of the integers"):
        FastTokenizer.load(tmp_path / "fast.json")
    with pytest.raises(ConfigError, match=r"none.json: expected a readable FAST tokenizer"):
        FastTokenizer.load(tmp_path / "none.json")


def test_what_cannot_be_a_chunk_is_refused(tokenizer: FastTokenizer) -> None:
    with pytest.raises(ValueError, match=r"chunk: expected \[6, 7\], got \[5, 7\]"):
        tokenizer.encode(np.zeros((5, 7), np.float32))
    with pytest.raises(ValueError, match=r"chunk: expected numbers in \[-1, 1\], got .* to 1.5"):
        tokenizer.encode(np.full((6, 7), 1.5, np.float32))
    with pytest.raises(ValueError, match=r"chunk: expected numbers in \[-1, 1\], got nan"):
        tokenizer.encode(np.full((6, 7), np.nan, np.float32))
    with pytest.raises(
        ValueError, match=r"vocabulary: expected in \[49, 6400\] for chunk_size 6 and scale 10.0, got 48"
    ):
        FastTokenizer.train(smooth_chunks(10), vocabulary=48, scale=10.0)


def test_ids_that_spell_no_whole_chunk_are_refused(tokenizer: FastTokenizer) -> None:
    ids = tokenizer.encode(smooth_chunks(1)[0])
    with pytest.raises(UndecodableError, match="expected 42 coefficients, got"):
        tokenizer.decode(ids[:-1])
    with pytest.raises(UndecodableError, match="expected 42 coefficients, got 0"):
        tokenizer.decode(ids[:0])
    with pytest.raises(UndecodableError, match=r"expected token ids in \[0, \d+\)"):
        tokenizer.decode(np.append(ids, len(tokenizer)))
