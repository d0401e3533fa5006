import numpy as np
import pytest

from vla_ros.action import Command
from vla_ros.sim.film import Film, Image, View

PICTURE = np.zeros((4, 4, 3), np.uint8)
COMMAND = Command(delta=np.array([0.0123, -0.004, 0, 0, 0, np.pi / 60]), gripper=0.25)


class Frames(list[list[str]]):
    """A video that keeps the captions."""

    def add(self, frame: Image, lines: list[str]) -> None:
        self.append(lines)

    def close(self) -> None:
        pass


class Camera:
    def __init__(self) -> None:
        self.rendered = 0

    def render(self) -> Image:
        self.rendered += 1
        return PICTURE


def film(frames: Frames | None, every_n_steps: int = 1) -> Film:
    return Film(video=frames, every_n_steps=every_n_steps, instruction="pick up the soup", part="", max_steps=280)


def test_a_frame_tells_instruction_gate_state_and_action() -> None:
    frames = Frames()
    film(frames).add(12, View(Camera().render), COMMAND, "RUN")
    assert frames == [
        ["pick up the soup", "step 12 of 280: RUN", "+12.3 -4.0 +0.0 mm, +0.0 +0.0 +3.0 deg, gripper 0.25"]
    ]


def test_before_the_first_chunk_nothing_is_said_of_the_gripper_and_silence_is_told() -> None:
    frames = Frames()
    film(frames).add(0, View(Camera().render), Command.stop(), "ARMED: waiting for a chunk")
    film(frames).add(1, View(Camera().render), None, "INACTIVE: shut down")
    assert [lines[2] for lines in frames] == ["+0.0 +0.0 +0.0 mm, +0.0 +0.0 +0.0 deg", "no command"]


@pytest.mark.parametrize(("every", "filmed"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4]), (0, [0, 4])])
def test_only_due_steps_are_rendered_and_none_twice(every: int, filmed: list[int]) -> None:
    frames, camera = Frames(), Camera()
    for step in range(6):
        view = View(camera.render)
        if step % 4 == 0:
            view.look()  # the policy sees it
        film(frames, every).add(step, view, COMMAND, "RUN")
    assert [int(lines[1].split()[1]) for lines in frames] == filmed
    assert camera.rendered == len({*filmed, 0, 4})


def test_without_a_video_nothing_is_rendered() -> None:
    camera = Camera()
    film(None).add(0, View(camera.render), COMMAND, "RUN")
    film(None).end(1, View(camera.render))
    assert camera.rendered == 0
