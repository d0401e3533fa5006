"""What is odd about a data set: each check looks at the summary only, and says why it matters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.data.inspection import Inspection

CLIPPED_SHARE = 0.01
CLIPPED_STEPS = 10
"""Share and number of steps at an extreme from which a dimension counts as clipped; otherwise one or two are there."""

FAR_OUT = 10.0
"""An extreme so many times farther from zero than the inner 98 % is an error rather than a movement."""

CLOSED_START_SHARE = 0.5
"""A hand must be open to grasp, so that most episodes which grasp or release anything begin open."""

FULLY = 0.1
"""A gripper that never comes closer than this to 0 or 1 was read with the wrong numbers for open and closed."""

IDLE_SHARE = 0.2
"""Some idling belongs to every demonstration; so much of it teaches a policy to stand still."""

SHORT_S = 0.5
SHORT_SHARE = 0.25
"""An episode is very short below half a second, or a quarter of the median."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd.

    Attributes:
        kind: a short name for programs.
        text: one or two sentences for humans.
    """

    kind: str
    text: str


def find_all(inspection: Inspection) -> list[Finding]:
    """Everything that is odd, the gravest first."""
    return [Finding(kind, text) for kind, check in CHECKS.items() for text in check(inspection)]


def left_out(inspection: Inspection) -> Iterator[str]:
    """Episodes that cannot be read."""
    if inspection.left_out:
        count, total = len(inspection.left_out), len(inspection.episodes) + len(inspection.left_out)
        yield f"{count} of {total} episodes cannot be used and were left out; see their list"


def gripper_range(inspection: Inspection) -> Iterator[str]:
    """An opening that never reaches its ends."""
    low, high = inspection.statistics.min[ARM_DIM], inspection.statistics.max[ARM_DIM]
    if low < high and (low > FULLY or high < 1 - FULLY):
        yield (
            f"the gripper's opening stays between {low:.2f} and {high:.2f}, of 0 (closed) to 1 (open): "
            "is it written in other numbers than this format's convention says?"
        )


def gripper_never_changes(inspection: Inspection) -> Iterator[str]:
    """A gripper without function."""
    if not any(episode.gripper_changes for episode in inspection.episodes):
        yield "the gripper never opens or closes in any episode: is its column the right one?"


def gripper_polarity(inspection: Inspection) -> Iterator[str]:
    """A gripper whose open and closed are exchanged."""
    grasping = inspection.grasping
    closed = sum(not episode.begins_open for episode in grasping)
    if grasping and closed / len(grasping) > CLOSED_START_SHARE:
        yield (
            f"{closed} of the {len(grasping)} episodes that use the gripper begin with it closed, though a hand must "
            "be open to grasp: are open and closed exchanged? Compare the film strips with the bars below them"
        )


def constant_dimensions(inspection: Inspection) -> Iterator[str]:
    """Arm dimensions that never move."""
    statistics = inspection.statistics
    names = [name for name, low, high in zip(ACTION_NAMES, statistics.min, statistics.max, strict=True) if low == high]
    names = [name for name in names if name != "gripper"]
    if names:
        yield f"{_list(names)} never {'change' if len(names) > 1 else 'changes'}: a policy cannot learn to use that"


def clipped_dimensions(inspection: Inspection) -> Iterator[str]:
    """Arm dimensions that pile up at their extremes."""
    statistics = inspection.statistics
    clipped = [
        f"{name} ({100 * share:.1f} % of the steps)"
        for name, share, low, high in zip(
            ACTION_NAMES, inspection.extreme_shares, statistics.min, statistics.max, strict=False
        )
        if low < high and share >= max(CLIPPED_SHARE, CLIPPED_STEPS / inspection.steps)
    ]
    if clipped:
        yield f"clipped at the least or largest value: {_list(clipped)}; more may have been wanted than is recorded"


def far_values(inspection: Inspection) -> Iterator[str]:
    """Values far beyond all others, such as an angle that jumped by a turn."""
    statistics = inspection.statistics
    for index, name in enumerate(ACTION_NAMES[:ARM_DIM]):
        inner = max(abs(statistics.q01[index]), abs(statistics.q99[index]))
        outer = max(abs(statistics.min[index]), abs(statistics.max[index]))
        if inner > 0 and outer > FAR_OUT * inner:
            yield (
                f"{name} reaches {outer:.3g} {statistics.units[index]}, while 98 % of it stay within {inner:.3g}: "
                f"{'an error' if index < 3 else 'a jump of an angle, or an error'} of the recording?"
            )


def black_frames(inspection: Inspection) -> Iterator[str]:
    """Frames without a picture."""
    images = inspection.images
    if images.black:
        seen = f"{len(images.black)} of {images.frames} frames looked at"
        yield f"{seen} are black or of one colour: {_some(images.black)}"


def frozen_frames(inspection: Inspection) -> Iterator[str]:
    """A camera that stopped."""
    if inspection.images.frozen:
        yield f"the picture stands still while the arm moves: {_some(inspection.images.frozen)}"


def image_sizes(inspection: Inspection) -> Iterator[str]:
    """Cameras of several sizes."""
    sizes = inspection.images.sizes
    if len(sizes) > 1:
        found = [f"{width} x {height} px in {count}" for (width, height), count in sizes.items()]
        yield f"the episodes have images of several sizes: {_list(found)} of those looked at"


def spelling(inspection: Inspection) -> Iterator[str]:
    """Instructions that differ by case, spaces or a full stop only."""
    spellings: dict[str, list[str]] = {}
    for text in inspection.instructions:
        spellings.setdefault(" ".join(text.casefold().rstrip(".!").split()), []).append(text)
    for texts in spellings.values():
        if len(texts) > 1:
            yield f"one instruction in several spellings: {_list([repr(text) for text in texts])}"


def short_episodes(inspection: Inspection) -> Iterator[str]:
    """Episodes that can hardly show a task."""
    lengths = np.array([episode.steps for episode in inspection.episodes])
    limit = max(SHORT_S * inspection.action.control_rate_hz, SHORT_SHARE * float(np.median(lengths)))
    short = [f"{episode.name} ({episode.steps})" for episode in inspection.episodes if episode.steps < limit]
    if short:
        have = "episode has" if len(short) == 1 else "episodes have"
        yield f"{len(short)} {have} fewer than {limit:.0f} steps: {_some(short)}"


def idle_steps(inspection: Inspection) -> Iterator[str]:
    """Steps in which nothing moves."""
    share = inspection.idle_share
    if share > IDLE_SHARE:
        yield f"nothing moves in {100 * share:.0f} % of the steps; a policy learns to stand still from them"


CHECKS: dict[str, Callable[[Inspection], Iterator[str]]] = {
    "left_out": left_out,
    "gripper_range": gripper_range,
    "gripper_never_changes": gripper_never_changes,
    "gripper_polarity": gripper_polarity,
    "constant_dimensions": constant_dimensions,
    "black_frames": black_frames,
    "frozen_frames": frozen_frames,
    "image_sizes": image_sizes,
    "far_values": far_values,
    "clipped_dimensions": clipped_dimensions,
    "idle_steps": idle_steps,
    "short_episodes": short_episodes,
    "spelling": spelling,
}


def _list(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _some(items: tuple[str, ...] | list[str], shown: int = 3) -> str:
    more = len(items) - shown
    return "; ".join(items[:shown]) + (f"; and {more} more" if more > 0 else "")
