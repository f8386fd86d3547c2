"""Passes on the way to an output are computed once, and never mixed with those of other settings."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sparse2dense.errors import InputError
from sparse2dense.volumes.grid import Block, blocks
from sparse2dense.volumes.passes import Passes, passes_for

TILES = blocks((7, 4, 5), (4, 4, 4))


def count(passes: Passes, name: str, log: list[str]) -> list[str]:
    """Run a pass that writes a file per block; return what it left."""

    def work(paths: Sequence[Path], block: Block) -> None:
        log.append(f"{name}{block.index}")
        (paths[0] / str(block.index)).write_text(name)

    return sorted(file.name for file in passes.run(name, work).iterdir())


def test_finished_passes_stay_until_the_output_is_made(tmp_path: Path) -> None:
    output, log = tmp_path / "out.zarr", list[str]()
    with pytest.raises(InputError), passes_for(output, {"a": 1}, TILES) as passes:
        assert count(passes, "first", log) == ["0", "1", "2", "3"]
        raise InputError("killed", allowed="", remedy="")
    with passes_for(output, {"a": 1}, TILES) as passes:
        assert count(passes, "first", log) == ["0", "1", "2", "3"]
        assert count(passes, "second", log) == ["0", "1", "2", "3"]
        assert [path.suffix for path in tmp_path.iterdir()] == [".passes"]
    assert log == [f"{name}{index}" for name in ("first", "second") for index in range(4)]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", ["key", "blocks"])
def test_passes_under_other_settings_are_discarded(tmp_path: Path, changed: str) -> None:
    output, log = tmp_path / "out.zarr", list[str]()
    with pytest.raises(KeyboardInterrupt), passes_for(output, {"a": 1}, TILES) as passes:
        count(passes, "first", log)
        raise KeyboardInterrupt
    tiles = blocks((7, 4, 5), (4, 4, 3)) if changed == "blocks" else TILES
    with passes_for(output, {"a": 2 if changed == "key" else 1}, tiles) as passes:
        assert len(list(tmp_path.iterdir())) == 0
        count(passes, "first", log)
    assert log == 2 * [f"first{index}" for index in range(4)]
    assert not list(tmp_path.iterdir())
