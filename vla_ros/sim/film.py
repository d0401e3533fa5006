"""An episode as a video: the camera's view, and below it the instruction, the gate's state and the action."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import Command

Image = NDArray[np.uint8]


class Video(Protocol):
    """`vla_ros.evaluation.video.VideoWriter`, or a list in a test."""

    def add(self, frame: Image, lines: list[str]) -> None:
        """Append one frame with its captions."""

    def close(self) -> None:
        """Finish the file."""


VideoFactory = Callable[[Path, float], Video]


class View:
    """What the camera sees at one step: rendered once at most, and only if somebody looks."""

    def __init__(self, render: Callable[[], Image]) -> None:
        self._render = render
        self.seen: Image | None = None

    def look(self) -> Image:
        """uint8 [height, width, 3], RGB, upright."""
        if self.seen is None:
            self.seen = self._render()
        return self.seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """The frames of one subtask.

    Attributes:
        video: where they go, or None for nowhere.
        every_n_steps: a frame each so many steps; 0: only of views that somebody looked at anyway.
        instruction: what the policy was told.
        part: which of several subtasks, as a caption's beginning.
        max_steps: the subtask's limit.
    """

    video: Video | None
    every_n_steps: int
    instruction: str
    part: str
    max_steps: int

    def add(self, step: int, view: View, command: Command | None, gate_state: str) -> None:
        """The view before the command of this step is executed."""
        if self.video is None:
            return
        is_due = step % self.every_n_steps == 0 if self.every_n_steps else view.seen is not None
        if is_due:
            caption = f"{self.part}step {step} of {self.max_steps}: {gate_state}"
            self.video.add(view.look(), [self.instruction, caption, _text(command)])

    def end(self, step: int, view: View) -> None:
        """The view after the step that did it."""
        if self.video is not None:
            self.video.add(view.look(), [self.instruction, f"{self.part}step {step}: success", ""])


def _text(command: Command | None) -> str:
    if command is None:
        return "no command"
    millimetres = " ".join(f"{1e3 * value:+.1f}" for value in command.delta[:3])
    degrees = " ".join(f"{value:+.1f}" for value in np.rad2deg(command.delta[3:]))
    gripper = "" if command.gripper is None else f", gripper {command.gripper:.2f}"
    return f"{millimetres} mm, {degrees} deg{gripper}"
