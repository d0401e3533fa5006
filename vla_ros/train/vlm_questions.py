"""Questions about images, for fine-tuning a vision-language model: one JSON object per line.

    {"image": "images/0001.png", "question": "Where is the soup?", "answer": "Left of the basket."}

Images are named relative to the file's folder and stay inside it. Other keys are refused: what is not read would be
missed in silence.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vla_ros.errors import DatasetError
from vla_ros.processing.template import ALL_SPECIAL_TOKENS

FIELDS = ("image", "question", "answer")
MEND = "; --skip-bad leaves such lines out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One line of the file.

    Attributes:
        image: of the file that is asked about.
        question, answer: plain text; line breaks are allowed.
        where: `<file>:<line>`, for errors.
    """

    image: Path
    question: str
    answer: str
    where: str

    def read_image(self) -> NDArray[np.uint8]:
        """The image uint8 [height, width, 3], RGB.

        Raises:
            DatasetError: it is damaged or of a format that OpenCV does not read.
        """
        # OpenCV answers a file that it cannot open with None as well
        image = cv2.imread(str(self.image), cv2.IMREAD_COLOR)
        if image is None:
            raise DatasetError(f"{self.where}: image: expected an image that decodes, got damaged {self.image}")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class QuestionFile:
    """Random access to the lines of a JSONL file; every line is checked once, when it is opened.

    Attributes:
        left_out: one text for each bad line that was left out.
    """

    def __init__(self, path: Path, skip_bad: bool = False, show_progress: bool = True) -> None:
        """Read the file once, remembering where its lines begin.

        Raises:
            DatasetError: no such file, not one good line, or, unless they are skipped, a bad one; names file and line.
        """
        self._path, self._folder = path, path.parent.resolve()
        self.left_out: list[str] = []
        places = []
        for place, line in tqdm(_lines(path), desc="checking questions", unit="line", disable=not show_progress):
            try:
                _check_file(self._parse(line, place[1]))
                places.append(place)
            except DatasetError as error:
                if not skip_bad:
                    raise DatasetError(f"{error}{MEND}") from error
                self.left_out.append(str(error))
        if not places:
            raise DatasetError(f"{path}: expected at least one line with {', '.join(FIELDS)}, got none")
        self._places = np.array(places, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def question(self, index: int) -> Question:
        """The good line `index`.

        Raises:
            DatasetError: the file changed since it was opened.
        """
        offset, number = self._places[index].tolist()
        with self._path.open("rb") as file:
            file.seek(offset)
            return self._parse(file.readline(), number)

    def _parse(self, line: bytes, number: int) -> Question:
        where = f"{self._path}:{number}"
        try:
            fields = json.loads(line)
        except ValueError as error:  # UnicodeDecodeError is one
            raise DatasetError(f"{where}: expected a JSON object, got: {error}") from error
        if not isinstance(fields, dict):
            raise DatasetError(f"{where}: expected a JSON object, got {type(fields).__name__}")
        if set(fields) != set(FIELDS):
            raise DatasetError(f"{where}: expected the keys {', '.join(FIELDS)}, got {', '.join(fields) or 'none'}")
        for name in FIELDS:
            _check_text(fields[name], f"{where}: {name}")
        image = (self._folder / fields["image"]).resolve()
        if not image.is_relative_to(self._folder):
            raise DatasetError(f"{where}: image: expected a path inside {self._path.parent}, got {fields['image']}")
        return Question(image=image, question=fields["question"], answer=fields["answer"], where=where)


def _lines(path: Path) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Offset, number and content of each line that is not empty."""
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield (offset, number), line
                offset += len(line)
    except OSError as error:
        raise DatasetError(f"{path}: expected a readable JSONL file, got {error.strerror}") from error


def _check_text(text: object, where: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise DatasetError(f"{where}: expected a text, got {text!r}")
    for position, character in enumerate(text):
        if character != "\n" and not character.isprintable():
            raise DatasetError(f"{where}: expected printable text, got U+{ord(character):04X} at position {position}")
    forged = sorted(token for token in ALL_SPECIAL_TOKENS if token in text)
    if forged:
        raise DatasetError(f"{where}: expected plain text, got the special token {', '.join(forged)}")


def _check_file(question: Question) -> None:
    if not question.image.is_file():
        raise DatasetError(f"{question.where}: image: expected a file, got nothing at {question.image}")
    if not cv2.haveImageReader(str(question.image)):
        raise DatasetError(
            f"{question.where}: image: expected a format that OpenCV reads, as PNG or JPEG, got {question.image}"
        )
