"""Seconds of lsds 0.1.3 for the descriptors of an array of labels, as JSON.

Run from the root of the project by the peers' Python: `python -m benchmarks.peers.descriptors LABELS.npy --sigma 10`;
the descriptors are saved beside the labels, as `theirs.npy`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from lsd.train.local_shape_descriptor import get_local_shape_descriptors


def main() -> None:
    """Compute, save and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--sigma", type=float, required=True, help="voxels")
    parser.add_argument("--downsample", type=int, default=1)
    options = parser.parse_args()
    labels = np.load(options.labels)
    sigma = (options.sigma,) * labels.ndim
    start = time.perf_counter()
    found = get_local_shape_descriptors(labels, sigma, downsample=options.downsample)
    seconds = time.perf_counter() - start
    np.save(options.labels.with_name("theirs.npy"), found)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
