"""Work over blocks can be stopped at any moment, and nothing half-made ever has a declared name."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import daisy
import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.volumes import blockwise
from sparse2dense.volumes.blockwise import OVERLAPPED, BlockFailed, run_blockwise
from sparse2dense.volumes.grid import Block, blocks
from sparse2dense.volumes.volume import create_volume, open_volume

TILES = blocks((7, 4, 5), (4, 4, 4))


def create_folders(paths: Sequence[Path]) -> None:
    for path in paths:
        path.mkdir()


def writer(text: str, fail_at: int | None = None, log: list[int] | None = None) -> Callable[..., None]:
    """Write one file per block; raise at block `fail_at`."""

    def work(paths: Sequence[Path], block: Block) -> None:
        if block.index == fail_at:
            raise ValueError("this block is bad")
        for path in paths:
            (path / f"{block.index}").write_text(text)
        if log is not None:
            log.append(block.index)

    return work


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def whole(text: str) -> dict[str, str]:
    return {str(tile.index): text for tile in TILES}


def test_nothing_has_the_declared_name_before_all_is_done(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out.zarr"
    seen = []

    def work(paths: Sequence[Path], block: Block) -> None:
        seen.append(output.exists())
        writer("x")(paths, block)

    assert run_blockwise(output, {"a": 1}, create_folders, work, TILES, label="test") == len(TILES)
    assert seen == [False] * len(TILES)
    assert content(output) == whole("x")
    assert [path.name for path in output.parent.iterdir()] == ["out.zarr"]


def test_a_failed_block_is_named_and_finished_ones_are_kept(tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    with pytest.raises(BlockFailed, match=r"block 2 at \(1, 0, 0\), voxels 4-7 0-4 0-4[\s\S]*ValueError: this block"):
        run_blockwise(output, {"a": 1}, create_folders, writer("x", fail_at=2), TILES, label="test")
    assert not output.exists()
    log: list[int] = []
    assert run_blockwise(output, {"a": 1}, create_folders, writer("x", log=log), TILES, label="test") == 2
    assert log == [2, 3]
    assert content(output) == whole("x")


def test_blocks_overlap_where_they_may(tmp_path: Path) -> None:
    """Two blocks wait for each other, which ends only where both are at work."""
    meeting = threading.Barrier(OVERLAPPED, timeout=60)

    def work(paths: Sequence[Path], block: Block) -> None:
        meeting.wait()
        writer("x")(paths, block)

    output = tmp_path / "out.zarr"
    assert run_blockwise(output, {}, create_folders, work, TILES, label="test", overlapping=True) == len(TILES)
    assert content(output) == whole("x")


@pytest.mark.parametrize("error", [ValueError("this block is bad"), InputError("bad", allowed="good", remedy="mend")])
def test_a_failure_ends_overlapping_blocks(tmp_path: Path, error: Exception) -> None:
    output, tiles, begun = tmp_path / "out.zarr", blocks((400, 4, 4), (4, 4, 4)), []

    def work(paths: Sequence[Path], block: Block) -> None:
        begun.append(block.index)
        if block.index == 1:
            raise error
        time.sleep(0.03)
        writer("x")(paths, block)

    refused = InputError if isinstance(error, InputError) else BlockFailed
    with pytest.raises(refused, match="bad"):
        run_blockwise(output, {}, create_folders, work, tiles, label="test", overlapping=True)
    assert len(begun) < len(tiles) and not output.exists()
    left = run_blockwise(output, {}, create_folders, writer("x"), tiles, label="test")
    assert left == len(tiles) - len(begun) + 1, "all that had begun ended"


@pytest.mark.parametrize("changed", ["key", "blocks", "halo"])
def test_work_under_other_settings_is_discarded(tmp_path: Path, changed: str) -> None:
    output = tmp_path / "out.zarr"
    with pytest.raises(BlockFailed):
        run_blockwise(output, {"a": 1}, create_folders, writer("old", fail_at=3), TILES, label="test")
    tiles = {"key": TILES, "blocks": blocks((7, 4, 5), (4, 4, 3)), "halo": blocks((7, 4, 5), (4, 4, 4), (1, 0, 0))}
    key = {"a": 2 if changed == "key" else 1}
    assert run_blockwise(output, key, create_folders, writer("new"), tiles[changed], label="test") == 4
    assert content(output) == whole("new")


def test_an_older_result_is_replaced_whole(tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    output.mkdir()
    (output / "leftover").write_text("old")
    with pytest.raises(BlockFailed):
        run_blockwise(output, {"a": 1}, create_folders, writer("x", fail_at=3), TILES, label="test")
    assert content(output) == {"leftover": "old"}
    run_blockwise(output, {"a": 1}, create_folders, writer("x"), TILES, label="test")
    assert content(output) == whole("x")


def test_no_blocks_make_an_empty_output(tmp_path: Path) -> None:
    assert run_blockwise(tmp_path / "out.zarr", {}, create_folders, writer("x"), [], label="test") == 0
    assert content(tmp_path / "out.zarr") == {}


def killed_at(operation: int, run: Callable[[], object]) -> bool:
    """Run in a child that is killed before its n-th change of the file system; return whether it got that far."""
    child = os.fork()
    if child == 0:
        count = 0

        def guard(owner: Any, name: str) -> None:
            original = getattr(owner, name)

            def guarded(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                if count == operation:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                return original(*args, **kwargs)

            setattr(owner, name, guarded)

        for owner, names in {
            Path: ("rename", "replace", "touch", "mkdir", "write_text"),
            os: ("unlink", "rmdir"),
        }.items():
            for name in names:
                guard(owner, name)
        try:
            run()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("before", "then"),
    [("nothing", "same"), ("older result", "same"), ("older result", "other"), ("other settings", "other")],
)
def test_a_kill_at_any_moment_does_no_harm(tmp_path: Path, before: str, then: str) -> None:
    tiles = TILES[:2]
    old, new = {"0": "old", "1": "old"}, {"0": "new", "1": "new"}
    operation, reached = 0, True
    while reached:
        outputs = [tmp_path / f"{operation}" / name for name in ("a.zarr", "b.zarr")]
        if before == "older result":
            run_blockwise(outputs, {"a": 0}, create_folders, writer("old"), tiles, label="test")
        elif before == "other settings":
            with pytest.raises(BlockFailed):
                run_blockwise(outputs, {"a": 0}, create_folders, writer("old", fail_at=1), tiles, label="test")
        reached = killed_at(
            operation,
            lambda outputs=outputs: run_blockwise(  # type: ignore[misc]
                outputs, {"a": 1}, create_folders, writer("new"), tiles, label="test"
            ),
        )
        for output in outputs:
            assert not output.exists() or content(output) in (old, new)
        text = "new" if then == "same" else "newer"
        key = {"a": 1 if then == "same" else 2}
        run_blockwise(outputs, key, create_folders, writer(text), tiles, label="test")
        for output in outputs:
            assert content(output) == {"0": text, "1": text}
        assert sorted(path.name for path in outputs[0].parent.iterdir()) == ["a.zarr", "b.zarr"]
        operation += 1
    assert operation > 15


def test_workers_write_what_one_process_writes(tmp_path: Path) -> None:
    tiles = blocks((20, 9, 11), (8, 8, 8), (1, 1, 1))

    def create(paths: Sequence[Path]) -> None:
        create_volume(paths[0], (20, 9, 11), np.uint64, voxel_size=(8, 8, 8), chunks=(8, 8, 8), labels=True)

    def work(paths: Sequence[Path], block: Block) -> None:
        open_volume(paths[0], "r+")[block.write] = 2**63 + block.index

    for workers in (1, 2):
        output = tmp_path / f"{workers}.zarr"
        assert run_blockwise(output, {}, create, work, tiles, label="a/b c", workers=workers) == len(tiles)
    one, two = (open_volume(tmp_path / name)[:] for name in ("1.zarr", "2.zarr"))
    np.testing.assert_array_equal(one, two)
    assert [one[tile.write].max() for tile in tiles] == [2**63 + tile.index for tile in tiles]


@pytest.mark.parametrize(("patience", "processes"), [(60.0, 1), (1e-9, 2)])
def test_workers_start_only_where_quick_blocks_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, processes: int
) -> None:
    """What is quick is begun in this process, and ends in it when that is soon."""

    def work(paths: Sequence[Path], block: Block) -> None:
        (paths[0] / str(block.index)).write_text(str(os.getpid()))

    monkeypatch.setattr(blockwise, "PATIENCE", patience)
    output = tmp_path / "out.zarr"
    assert run_blockwise(output, {}, create_folders, work, TILES[:2], label="test", workers=2, quick=True) == 2
    found = content(output)
    assert found["0"] == str(os.getpid())
    assert len(set(found.values())) == processes


def test_a_failure_in_a_worker_carries_its_traceback_and_finished_blocks_stay(tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    with pytest.raises(BlockFailed, match=r"block 2 at \(1, 0, 0\)[\s\S]*ValueError: this block is bad"):
        run_blockwise(output, {}, create_folders, closure(writer("x", fail_at=2)), TILES, label="test", workers=2)
    assert not output.exists()
    assert run_blockwise(output, {}, create_folders, writer("x"), TILES, label="test") < len(TILES)
    assert content(output) == whole("x")


def test_workers_do_not_go_through_all_blocks_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker looks at no list of all blocks for each of its own; failures in other parts don't end this one."""
    rounds = []

    class Counted(list[Block]):
        def __iter__(self) -> Iterator[Block]:
            rounds.append(len(self))
            return super().__iter__()

    class Tickets:
        def __init__(self) -> None:
            self.waiting = [*range(len(TILES) - 1), None]

        @contextmanager
        def acquire_block(self) -> Iterator[Any]:
            index = self.waiting.pop(0)
            yield None if index is None else daisy.Block(daisy.Roi((0,), (9,)), *[daisy.Roi((index,), (1,))] * 2)

    manifest = blockwise.Manifest([tmp_path / "out.zarr"], "stamp")
    manifest.begin(create_folders)
    try:
        raise ValueError
    except ValueError as error:
        manifest.fail(TILES[-1], error)
    monkeypatch.setattr(blockwise.daisy, "Client", Tickets)
    blockwise.worker_loop(manifest, writer("x"), Counted(TILES[:-1]), os.getppid())()
    assert manifest.done() == set(range(len(TILES) - 1))
    assert len(rounds) <= 1


def closure(work: Callable[..., None]) -> Callable[..., None]:
    return work


def test_a_worker_that_dies_is_reported_with_its_block(tmp_path: Path) -> None:
    def work(paths: Sequence[Path], block: Block) -> None:
        if block.index == 1:
            os._exit(9)
        (paths[0] / f"{block.index}").write_text("x")

    with pytest.raises(BlockFailed, match=r"block 1 at \(0, 0, 1\)[\s\S]*without a traceback"):
        run_blockwise(tmp_path / "out.zarr", {}, create_folders, work, TILES, label="test", workers=2)


SCRIPT = """
import sys, time
from pathlib import Path
from sparse2dense.volumes.blockwise import run_blockwise
from sparse2dense.volumes.grid import blocks

def create(paths):
    paths[0].mkdir()

def work(paths, block):
    time.sleep(0.05)
    (paths[0] / str(block.index)).write_text("x")

print(run_blockwise(Path(sys.argv[1]), {}, create, work, blocks((40,), (1,)), label="test", workers=2))
"""


def test_workers_end_with_a_killed_job_and_the_next_goes_on(tmp_path: Path) -> None:
    script, output = tmp_path / "job.py", tmp_path / "out.zarr"
    script.write_text(SCRIPT)
    job = subprocess.Popen([sys.executable, script, output])

    def written() -> set[str]:
        return {path.name for path in tmp_path.glob("out.zarr.*.partial/out.zarr/*")}

    while job.poll() is None and "5" not in written():
        time.sleep(0.01)
    job.kill()
    job.wait()
    time.sleep(0.6)
    before = written()
    assert 0 < len(before) < 40
    time.sleep(0.3)
    assert written() == before
    again = subprocess.run([sys.executable, script, output], capture_output=True, text=True, check=True)
    assert 0 < int(again.stdout) <= 40 - 5
    assert content(output) == {str(index): "x" for index in range(40)}


@pytest.mark.parametrize("part", [None, (0, 2)])
def test_drafts_that_a_stopped_job_leaves_are_swept(tmp_path: Path, part: tuple[int, int] | None) -> None:
    """Zarr writes a chunk beside its place first, under a new name each time; what remains there is in no result."""
    output = tmp_path / "out.zarr"

    def stopped(paths: Sequence[Path], block: Block) -> None:
        (paths[0] / "chunk.0123.partial").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blockwise(output, {}, create_folders, stopped, TILES, label="test", part=part)
    if part is not None:
        run_blockwise(output, {}, create_folders, writer("x"), TILES, label="test", part=part)
    run_blockwise(output, {}, create_folders, writer("x"), TILES, label="test")
    assert content(output) == whole("x")


def test_parts_share_the_blocks_and_a_last_job_only_finishes(tmp_path: Path) -> None:
    tiles, output, parts = blocks((7,), (1,)), tmp_path / "out.zarr", 3
    log: list[int] = []
    counts = []
    for number in range(parts):
        counts.append(
            run_blockwise(output, {}, create_folders, writer("x", log=log), tiles, label="test", part=(number, parts))
        )
        assert not output.exists()
    assert sorted(counts) == [2, 2, 3]
    assert log == list(range(7))
    assert run_blockwise(output, {}, create_folders, writer("x", log=log), tiles, label="test") == 0
    assert content(output) == {str(index): "x" for index in range(7)}
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    with pytest.raises(InputError, match="part 4 of 3"):
        run_blockwise(output, {}, create_folders, writer("x"), tiles, label="test", part=(4, 3))


def test_parts_under_another_key_are_not_thrown_away(tmp_path: Path) -> None:
    """The last job neither does alone what its parts did otherwise, nor gathers some of it; its parts can."""
    output = tmp_path / "out.zarr"

    def run(key: int, part: tuple[int, int]) -> int:
        return run_blockwise(output, {"code": key}, create_folders, writer(str(key)), TILES, label="test", part=part)

    assert [run(1, (0, 2)), run(2, (1, 2))] == [2, 2]
    for key in (1, 2, 3):
        with pytest.raises(InputError, match=r"lacks blocks, but out\.zarr\.[\s\S]* was begun"):
            run(key, (2, 2))
    assert not output.exists()
    assert run(2, (0, 2)) == 2
    assert run(2, (2, 2)) == 0
    assert content(output) == whole("2")
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_what_a_part_left_out_is_computed_at_the_end(tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    with pytest.raises(BlockFailed):
        run_blockwise(output, {}, create_folders, writer("x", fail_at=1), TILES, label="test", part=(0, 2))
    assert run_blockwise(output, {}, create_folders, writer("x"), TILES, label="test", part=(1, 2)) == 2
    assert run_blockwise(output, {}, create_folders, writer("x"), TILES, label="test") == 1
    assert content(output) == whole("x")


def test_jobs_that_begin_at_once_go_on_with_the_same_folder(tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"

    def begin_late(paths: Sequence[Path]) -> None:
        """Another job begins, works and marks its blocks while this one makes its empty store."""
        run_blockwise(output, {}, create_folders, writer("first"), TILES, label="test", part=(0, 2))
        create_folders(paths)

    assert run_blockwise(output, {}, begin_late, writer("second"), TILES, label="test", part=(1, 2)) == 2
    assert run_blockwise(output, {}, create_folders, writer("third"), TILES, label="test") == 0
    assert content(output) == {"0": "first", "1": "first", "2": "second", "3": "second"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_the_conclusion_sees_all_blocks_and_is_repeated_after_a_failure(tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    seen = []

    def conclude(paths: Sequence[Path]) -> None:
        seen.append(content(paths[0]))
        if len(seen) == 1:
            raise InputError("no sum", allowed="a sum", remedy="try again")
        (paths[0] / "sum").write_text("4")

    with pytest.raises(InputError, match="no sum"):
        run_blockwise(output, {}, create_folders, writer("x"), TILES, label="test", conclude=conclude)
    assert not output.exists()
    assert run_blockwise(output, {}, create_folders, writer("y"), TILES, label="test", conclude=conclude) == 0
    assert seen == [whole("x"), whole("x")]
    assert content(output) == whole("x") | {"sum": "4"}
