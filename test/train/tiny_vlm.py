"""Configs and data for fine-tuning a tiny vision-language model."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from test.tiny_policy import TINY_TRAINING, write_demonstrations
from vla_ros.cli import main

COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0), "white": (255, 255, 255)}
"""BGR, as OpenCV writes them."""


def run(config: Path, *options: str) -> int:
    """`vla-ros train-vlm`."""
    return main(["train-vlm", str(config), *options])


def write_fast_config(folder: Path, **changes: Any) -> Path:
    """Demonstrations and a config that trains FAST tokens on them; `changes` are of the optimizer or of the config."""
    if not (folder / "data").exists():
        write_demonstrations(folder / "data")
    fields = yaml.safe_load(TINY_TRAINING.format(data=folder / "data", output=folder / "run"))
    moved = {name: fields.pop(name) for name in ("camera", "action", "chunk_size", "data", "augmentation")}
    del fields["objective"]
    fields["fast"] = {**moved, "vocabulary": 64}
    return _write(folder / "fast.yaml", fields, changes)


def write_questions(folder: Path) -> Path:
    """A JSONL file about plain images: what colour each is."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number in range(12):
        name = list(COLOURS)[number % len(COLOURS)]
        image = np.full((48, 80, 3), COLOURS[name], np.uint8)
        image[0, number] = 9  # no two files are alike
        cv2.imwrite(str(folder / f"images/{number}.png"), image)
        lines.append({"image": f"images/{number}.png", "question": "Which colour\nis this?", "answer": name})
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_vqa_config(folder: Path, **changes: Any) -> Path:
    """Questions and a config that trains on them; `changes` as in `write_fast_config`."""
    path = folder / "questions/questions.jsonl"
    if not path.exists():
        write_questions(path.parent)
    fields = yaml.safe_load(TINY_TRAINING.format(data="nowhere", output=folder / "run"))
    for name in ("camera", "action", "chunk_size", "data", "augmentation", "objective"):
        del fields[name]
    fields["vqa"] = {"path": str(path), "validation_questions": 4, "max_answer_tokens": 8}
    return _write(folder / "vqa.yaml", fields, changes)


def _write(path: Path, fields: dict[str, Any], changes: dict[str, Any]) -> Path:
    for name, value in changes.items():
        (fields["optimizer"] if name in fields["optimizer"] else fields)[name] = value
    path.write_text(yaml.safe_dump(fields))
    return path
