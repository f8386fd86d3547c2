"""The Python in the pages on sizes and proofreading does what they say, on a small result."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from sparse2dense.volumes.volume import create_volume, open_volume

ROOT = Path(__file__).parents[1]
TRACK = Path("results/demo/held_out/bootstrapped")
FRAGMENTS = np.array([[[3, 3], [9, 1042]], [[1043, 0], [3, 2**40]], [[9, 1042], [0, 7]]], dtype=np.uint64)
SEGMENTS = {3: 3, 7: 6, 9: 8, 1042: 5, 1043: 5, 2**40: 11}


def blocks(page: str) -> list[str]:
    """The Python of a page."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A track of twelve voxels, in the place that the pages name."""
    monkeypatch.chdir(tmp_path)
    (TRACK / "luts").mkdir(parents=True)
    (TRACK / "graph").mkdir()
    (tmp_path / "data").mkdir()
    lut = pd.DataFrame({"fragment": list(SEGMENTS), "segment": list(SEGMENTS.values())}, dtype=np.uint64)
    lut.to_parquet(TRACK / "luts/chosen.parquet")
    pd.DataFrame({"u": [3, 3, 7], "v": [9, 1042, 9]}).to_parquet(TRACK / "graph/edges.parquet")
    segmentation = np.vectorize(lambda fragment: SEGMENTS.get(fragment, 0))(FRAGMENTS) + 2**33 * (FRAGMENTS == 7)
    for name, values in {"fragments": FRAGMENTS, "segmentation/chosen": segmentation}.items():
        volume = create_volume(TRACK / f"{name}.zarr", values.shape, np.uint64, voxel_size=(8, 8, 8), labels=True)
        volume.array[:] = values.astype(np.uint64)
    return tmp_path


def test_contacts_are_counted(track: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three contacts in twelve voxels."""
    (counting,) = blocks("docs/howto/sizing.md")
    exec(compile(counting, "sizing.md", "exec"), {})
    assert capsys.readouterr().out == "250000 contacts per Mvoxel\n"


def test_a_crop_is_exported_with_small_ids(track: Path) -> None:
    """Large ids become small ones of a type that every editor opens; the objects, and background, stay."""
    export, _ = blocks("docs/howto/proofreading.md")
    exec(compile(export, "proofreading.md", "exec"), {})
    written = tifffile.imread(track / "data/to_correct.tif")
    given = np.asarray(open_volume(TRACK / "segmentation/chosen.zarr").array[:])
    assert written.dtype.itemsize <= 4 < given.dtype.itemsize and written.shape == given.shape
    assert ((written == 0) == (given == 0)).all()
    pairs = set(zip(given.ravel().tolist(), written.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(given)) == written.max() + 1


def test_joins_and_separations_change_the_mapping(track: Path) -> None:
    """Segments 3, 8 and 11 become one, and both fragments of segment 5 a new one."""
    _, correct = blocks("docs/howto/proofreading.md")
    exec(compile(correct, "proofreading.md", "exec"), {})
    written = tifffile.imread(track / "data/corrected.tif")
    assert written.tolist() == [[[3, 3], [3, 7]], [[7, 0], [3, 3]], [[3, 7], [0, 6]]]
