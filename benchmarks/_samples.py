"""What the benchmark of training samples asks of both sides, and how each is timed; it needs no library.

It is imported by our Python and by that of the peers.
"""

import json
import time
from collections.abc import Callable
from typing import Any

SECTION_INPUT = (196, 196)
"""Voxels (y, x) that Bootstrapper's 2D nets see."""
SECTION_OUTPUT = (104, 104)
"""Voxels (y, x) that they predict: their convolutions keep only what they saw whole."""
SECTION_OFFSETS = ((-1, 0), (0, -1), (-9, 0), (0, -9), (-27, 0), (0, -27))
LIFT_INPUT = (24, 148, 148)
LIFT_OUTPUT = (4, 56, 56)
LIFT_OFFSETS = (
    *((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
    *((-2, 0, 0), (0, -9, 0), (0, 0, -9)),
    *((-3, 0, 0), (0, -27, 0), (0, 0, -27)),
)
SIGMA = 10
"""Of the descriptors, in voxels."""
DOWNSAMPLE = 2
VOXEL_SIZE = (8, 8, 8)
"""nm (z, y, x) of the painted volume, as of FIB-25."""


def timed(draw: Callable[[], dict[str, Any]], warm_up: int, count: int) -> str:
    """Draw samples; as JSON seconds and seconds of all processors of each after the first `warm_up`, and shapes.

    `draw` returns the arrays of a sample by name.
    """
    seconds, processor = [], []
    arrays: dict[str, Any] = {}
    for number in range(warm_up + count):
        start, before = time.perf_counter(), time.process_time()
        arrays = draw()
        if number >= warm_up:
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - before)
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    return json.dumps({"seconds": seconds, "processor": processor, "shapes": shapes})
