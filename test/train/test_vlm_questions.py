"""Questions about images: what is read, and what is refused with file and line."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from test.train.tiny_vlm import write_questions
from vla_ros.errors import DatasetError
from vla_ros.train.vlm_questions import QuestionFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_questions(tmp_path / "set")


def append(path: Path, line: dict[str, Any] | str) -> None:
    with path.open("a") as file:
        file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")


def test_every_line_is_found_again_in_any_order(path: Path) -> None:
    file = pickle.loads(pickle.dumps(QuestionFile(path, show_progress=False)))  # as a worker gets it
    assert len(file) == 12
    assert [file.question(index).answer for index in (5, 0, 11)] == ["green", "red", "white"]
    assert file.question(5).where == f"{path}:6"
    assert file.question(5).question == "Which colour\nis this?"


def test_images_are_rgb(path: Path) -> None:
    image = QuestionFile(path, show_progress=False).question(0).read_image()
    assert image.shape == (48, 80, 3)
    assert image.dtype == np.uint8
    assert image[20, 20].tolist() == [255, 0, 0]  # red


def test_empty_lines_count_as_lines_but_not_as_questions(path: Path) -> None:
    path.write_text("\n" + path.read_text().replace("\n", "\n\n", 1))
    file = QuestionFile(path, show_progress=False)
    assert len(file) == 12
    assert [file.question(index).where for index in (0, 1)] == [f"{path}:2", f"{path}:4"]


GOOD = {"image": "images/0.png", "question": "What?", "answer": "That."}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "expected a JSON object, got: "),
        ("\xff", "expected a JSON object, got: "),
        ("[1]", "expected a JSON object, got list"),
        ({"image": "images/0.png"}, "expected the keys image, question, answer, got image"),
        ({**GOOD, "choices": []}, "expected the keys image, question, answer, got image, question, answer, choices"),
        ({**GOOD, "answer": 3}, "answer: expected a text, got 3"),
        ({**GOOD, "question": " "}, "question: expected a text, got ' '"),
        ({**GOOD, "answer": "a\tb"}, r"answer: expected printable text, got U\+0009 at position 1"),
        ({**GOOD, "answer": "yes<|im_end|>"}, r"answer: expected plain text, got the special token <\|im_end\|>"),
        ({**GOOD, "image": "images/99.png"}, "image: expected a file, got nothing at .*images/99.png"),
        ({**GOOD, "image": "images"}, "image: expected a file, got nothing at .*images"),
        ({**GOOD, "image": "questions.jsonl"}, "image: expected a format that OpenCV reads, as PNG or JPEG, got "),
        ({**GOOD, "image": "../outside.png"}, r"image: expected a path inside .*, got \.\./outside.png"),
        ({**GOOD, "image": "/etc/hostname"}, "image: expected a path inside .*, got /etc/hostname"),
        ({**GOOD, "image": "link.png"}, "image: expected a path inside .*, got link.png"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line(path: Path, line: dict[str, Any] | str, complaint: str) -> None:
    (path.parent.parent / "outside.png").write_bytes((path.parent / "images/0.png").read_bytes())
    (path.parent / "link.png").symlink_to("../outside.png")
    append(path, line)
    with pytest.raises(DatasetError, match=rf"questions.jsonl:13: {complaint}.*; --skip-bad leaves such lines out"):
        QuestionFile(path, show_progress=False)
    file = QuestionFile(path, skip_bad=True, show_progress=False)
    assert len(file) == 12
    assert len(file.left_out) == 1
    assert file.left_out[0].startswith(f"{path}:13: ")


def test_an_image_that_is_cut_off_is_refused_when_it_is_read(path: Path) -> None:
    image = path.parent / "images/3.png"
    image.write_bytes(image.read_bytes()[:60])
    question = QuestionFile(path, show_progress=False).question(3)
    with pytest.raises(DatasetError, match=r"questions.jsonl:4: image: expected an image that decodes, got damaged"):
        question.read_image()


def test_a_file_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none.jsonl: expected a readable JSONL file, got No such file"):
        QuestionFile(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DatasetError, match=r"empty.jsonl: expected at least one line with image, question, answer"):
        QuestionFile(tmp_path / "empty.jsonl")
