"""Random damage to text, values and numbers, by seed."""

import math
import random
from typing import Any

NUMBERS: list[Any] = [
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**64),
    0.0,
    -0.0,
    0.5,
    1e-300,
    1e308,
    -1e308,
    math.inf,
    -math.inf,
    math.nan,
]
WORDS = [
    "",
    " ",
    "\x00",
    "\ufffd",
    "a" * 2000,
    "full",
    "world",
    "base",
    "null",
    "~",
    "../..",
    "!!python/object:os.system",
    "é",
]
VALUES: list[Any] = [
    *NUMBERS,
    *WORDS,
    None,
    True,
    False,
    [],
    {},
    [1.0, 2.0, 3.0],
    [math.nan] * 3,
    ["a"],
    {"a": 1},
    b"\xff",
]
LINES = [
    "a: &x [1]",
    "b: *x",
    "- 1",
    "? [a]: b",
    "!!binary aGVsbG8=",
    "<<: {a: 1}",
    "{",
    "}",
    "'",
    '"',
    "%YAML 9.9",
    "---",
    "\t",
]


def changed_mapping(mapping: dict[str, Any], random_: random.Random) -> dict[str, Any]:
    """With one to three keys gone, added, renamed, or of another value."""
    result = dict(mapping)
    for _ in range(random_.randint(1, 3)):
        key = random_.choice(list(result) or ["a"])
        action = random_.randrange(4)
        if action == 0:
            result.pop(key, None)
        elif action == 1:
            result[random_.choice(WORDS) or "x"] = random_.choice(VALUES)
        elif action == 2:
            result[key + random_.choice("xS_")] = result.pop(key, None)
        else:
            result[key] = random_.choice(VALUES)
    return result


def changed_text(text: str, random_: random.Random) -> str:
    """With one to four pieces gone, doubled, swapped or put in."""
    for _ in range(random_.randint(1, 4)):
        at, length = random_.randrange(len(text) + 1), random_.randint(1, 12)
        piece = text[at : at + length]
        put = random_.choice(["", piece * 2, piece[::-1], random_.choice(LINES), "\n" + random_.choice(LINES) + "\n"])
        text = text[:at] + put + text[at + length :]
    return text
