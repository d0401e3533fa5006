"""A busy neighbour: a process that computes without a pause, as other software on the robot's computer may; a program.

It multiplies matrices on one core, and reads and writes JSON in between.
"""

import itertools
import json
import os

import numpy as np

SIZE = 256


def main() -> None:
    """Run until somebody ends it."""
    factor = np.ones((SIZE, SIZE), np.float32)
    document = {"numbers": list(range(1000)), "words": {str(number): "word" for number in range(100)}}
    for _ in itertools.count():
        factor @ factor
        json.loads(json.dumps(document))
        if os.getppid() == 1:
            return  # whoever started it is gone


if __name__ == "__main__":
    main()
