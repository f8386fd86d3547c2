"""Peak memory and speed of importing a large TIFF stack, beside reading it whole.

    python benchmarks/import_memory.py --gigabytes 4

Every import runs in a process of its own; its peak is counted above that of a process that only imports the modules.
The file has just been written when it is read, so that the disk's cache helps both ways alike.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
import zarr
from scipy.ndimage import gaussian_filter

from sparse2dense.stages.importing import import_volume
from sparse2dense.volumes.provenance import peak_memory_mb

SIDE = 2048
LIMIT_MB = 300.0


def write_stack(path: Path, gigabytes: float, compression: str | None) -> int:
    """Write sections of smoothed noise, no two alike, and return the number of voxels."""
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1.5)
    section = np.clip(noise / noise.std() * 40 + 128, 0, 255).astype(np.uint8)
    count = round(gigabytes * 1e9 / section.size)
    sections = (np.roll(section, (17 * index, 31 * index), (0, 1)) for index in range(count))
    tifffile.imwrite(
        path, sections, shape=(count, SIDE, SIDE), dtype=np.uint8, bigtiff=True, compression=compression,
        photometric="minisblack",
    )  # fmt: skip
    return count * section.size


def by_slabs(source: Path, output: Path) -> None:
    """Import as the workflow does."""
    import_volume(source, output, voxel_size=(8, 8, 8))


def whole(source: Path, output: Path) -> None:
    """Read all, write all."""
    values = tifffile.imread(source)
    array = zarr.create_array(
        output, shape=values.shape, dtype=values.dtype, chunks=(64, 64, 64), compressors=zarr.codecs.ZstdCodec(level=3)
    )
    array[:] = values


def nothing(source: Path, output: Path) -> None:
    """Only import the modules."""


WAYS: dict[str, Callable[[Path, Path], None]] = {"nothing": nothing, "sparse2dense": by_slabs, "whole": whole}


def measure(way: str, source: Path, output: Path) -> tuple[float, float]:
    """Run one way in a child; return its peak memory in MB and its seconds."""
    command = [sys.executable, __file__, "--child", way, "--source", str(source), "--output", str(output)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(answer[-2]), float(answer[-1])


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line per way and format; exit status 1 when the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--compressions", nargs="+", default=["none", "zlib"])
    parser.add_argument("--child", choices=WAYS)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    if options.child:
        start = time.perf_counter()
        WAYS[options.child](options.source, options.output)
        print(peak_memory_mb(), time.perf_counter() - start)
        return
    passed = True
    print(f"{'TIFF':8} {'way':14} {'MB above modules':>17} {'seconds':>8} {'MB/s':>6}")
    for compression in options.compressions:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "stack.tif"
            size = write_stack(source, options.gigabytes, None if compression == "none" else compression)
            base, _ = measure("nothing", source, Path(folder) / "nothing")
            for way in ("sparse2dense", "whole"):
                peak, seconds = measure(way, source, Path(folder) / f"{way}.zarr")
                passed &= way == "whole" or peak - base < LIMIT_MB
                print(f"{compression:8} {way:14} {peak - base:17.0f} {seconds:8.1f} {size / 1e6 / seconds:6.0f}")
    print(f"import {'stays' if passed else 'does NOT stay'} below {LIMIT_MB:.0f} MB above the modules ({base:.0f} MB)")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
