"""Run a function over blocks so that a kill at any moment costs at most the blocks in flight.

Everything is written below `<output>.<stamp>.partial`, which no rule declares; the stamp is a hash of everything that
makes finished blocks valid, so work under other settings never mixes. One empty file inside marks each finished block;
the last step gives the outputs their names. Several jobs, on several machines, may each compute a part of the blocks
into the same place; one more job then gathers them: it finds all blocks done and finishes.
"""

import json
import logging
import math
import os
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import daisy

from sparse2dense.errors import InputError
from sparse2dense.volumes.grid import Block
from sparse2dense.volumes.progress import Progress
from sparse2dense.volumes.provenance import content_hash
from sparse2dense.volumes.replacing import atomic_file, partial_path, remove, replace, waste_path

__all__ = ["OVERLAPPED", "BlockFailed", "Part", "run_blockwise"]

log = logging.getLogger(__name__)

Create = Callable[[Sequence[Path]], None]
Work = Callable[[Sequence[Path], Block], None]
Part = tuple[int, int]
"""Number of a part of the work, from 0, and how many parts there are. Number n of n is the job that gathers them."""

MANIFEST = ".blockwise"
NEVER = 10 * 365 * 24 * 3600.0
"""Seconds; daisy's own limit of 600 s for a block would kill slow blocks."""
PATIENCE = 3.0
"""Seconds of quick work that this process does alone: two workers, each 1.6 s in starting, would not end it sooner."""
WATCHING = 50
"""How much longer the progress rests than it takes to list the marks, which are many on a slow disk."""
OVERLAPPED = 2
"""Blocks that a process without others works on at once, where it may: one is computed as others are on their way from
and to the disk."""


class BlockFailed(RuntimeError):
    """A block could not be computed; names its place and carries the traceback."""


class Manifest:
    """The folder of unfinished outputs, and in it the record of what is finished.

    It gets its name in one step and complete, and loses it in one step when the outputs leave it. So whoever finds it
    can go on with it, and of several jobs that begin at once all go on with the one that was first.

    Parameters
    ----------
    outputs
        What the work makes, in one folder.
    stamp
        Hash of everything that makes finished blocks valid.
    """

    def __init__(self, outputs: Sequence[Path], stamp: str) -> None:
        self.outputs = outputs
        self.root = partial_path(outputs[0].with_name(f"{outputs[0].name}.{stamp[:12]}"))
        self.partials = [self.root / output.name for output in outputs]
        self.folder = self.root / MANIFEST

    def begin(self, create: Create) -> None:
        """Make the empty outputs, unless they stand already."""
        if self.root.is_dir():
            return
        draft = self.root.with_name(f"{self.root.name}.{uuid.uuid4().hex}")
        draft.mkdir(parents=True)
        create([draft / output.name for output in self.outputs])
        (draft / MANIFEST / "done").mkdir(parents=True)
        (draft / MANIFEST / "failed").mkdir()
        (draft / MANIFEST / "running").mkdir()
        try:
            draft.rename(self.root)
        except OSError:
            if not self.root.is_dir():
                raise
            remove(draft)

    def discard_others(self) -> None:
        """Remove what attempts under other settings, and kills at awkward moments, left behind."""
        first = self.outputs[0]
        for other in first.parent.glob(f"{first.name}.*.partial*"):
            if other != self.root:
                remove(other)
        for output in self.outputs:
            remove(waste_path(output))

    def expect_parts(self, blocks: Sequence[Block]) -> None:
        """Refuse to gather what isn't here; InputError where it was computed under another stamp."""
        first = self.outputs[0]
        strays = [
            other for other in first.parent.glob(f"{first.name}.*.partial") if other != self.root and other.is_dir()
        ]
        if strays and not (self.root.is_dir() and len(self.done()) == len(blocks)):
            raise InputError(
                f"{self.root.name} lacks blocks, but {', '.join(stray.name for stray in sorted(strays))} was begun "
                "under other settings, inputs or code",
                allowed="jobs of one output that all run the same",
                remedy=f"give the same command again, which makes the parts anew; or first delete {first}.parts",
            )

    def done(self) -> set[int]:
        """Return the indices of finished blocks."""
        return {int(entry.name) for entry in os.scandir(self.folder / "done")}

    def mark(self, block: Block) -> None:
        """Record that the block's voxels are on disk."""
        (self.folder / "done" / str(block.index)).touch()

    def fail(self, block: Block, error: Exception) -> None:
        """Record why the block failed; to be called where `error` is handled."""
        refused = [error.problem, error.allowed, error.remedy] if isinstance(error, InputError) else None
        with atomic_file(self.folder / "failed" / f"{block.index}.json", shared=True) as file:
            file.write_text(json.dumps({"trace": traceback.format_exc(), "input_error": refused}))

    def failures(self) -> set[int]:
        """Return the indices of failed blocks, those of other parts too."""
        stems = (Path(entry.name).stem for entry in os.scandir(self.folder / "failed"))
        return {int(stem) for stem in stems if stem.isdigit()}

    def failed(self, blocks: Sequence[Block]) -> dict[int, dict[str, Any]]:
        """Return by index of the failed ones of `blocks` their traceback and the parts of an InputError, if any."""
        indices = self.failures() & {block.index for block in blocks}
        return {index: json.loads((self.folder / "failed" / f"{index}.json").read_text()) for index in indices}

    def forget_failures(self, blocks: Sequence[Block]) -> None:
        """Give failed blocks another chance."""
        for index in self.failed(blocks):
            (self.folder / "failed" / f"{index}.json").unlink()

    @contextmanager
    def attempt(self, part: Part | None) -> Iterator[None]:
        """Note that a job is at work; one that was killed leaves its note, which the next one of its part finds."""
        name = "whole" if part is None else f"{part[0]}-of-{part[1]}"
        note = self.folder / "running" / name
        if note.exists():
            (self.folder / "killed").touch()
        note.touch()
        yield
        note.unlink()

    def sweep(self) -> None:
        """Remove drafts of chunks that a killed job was writing; Zarr gives them a new name each time."""
        if (self.folder / "killed").exists():
            for partial in self.partials:
                for draft in partial.rglob("*.partial"):
                    remove(draft)

    def finish(self) -> None:
        """Give the outputs their names.

        A kill in between leaves an output without its partner; the next attempt then starts anew. That is the price of
        never calling a half-made set of outputs whole, and the gap is below a millisecond.
        """
        leaving = self.root.with_name(f"{self.root.name}.leaving")
        self.root.rename(leaving)
        for output in self.outputs:
            replace(leaving / output.name, output)
        remove(leaving)


def run_blockwise(
    outputs: Path | Sequence[Path],
    key: Mapping[str, Any],
    create: Create,
    work: Work,
    blocks: Sequence[Block],
    *,
    label: str,
    workers: int = 1,
    quick: bool = False,
    overlapping: bool = False,
    conclude: Callable[[Sequence[Path]], None] | None = None,
    part: Part | None = None,
) -> int:
    """Compute `outputs` block by block; go on where an earlier attempt under the same `key` stopped.

    Parameters
    ----------
    outputs
        One directory or file, or all that one rule writes, in the same folder; existing ones are replaced at the end.
    key
        Everything that makes finished blocks valid: settings, hashes or times of inputs, version of the code.
        Partial work under another key is discarded.
    create
        Makes the empty stores; gets the paths to write to, in the order of `outputs`. What it puts beside them is for
        `work` and `conclude`, and goes in the end.
    work
        Computes one block and writes it into the same paths. It may write only its block's voxels, and always the
        same values. With several workers it travels to other processes by cloudpickle, so it must not hold open
        files, locks or stores: open them inside.
    blocks
        All blocks of the outputs, see `grid.blocks`.
    label
        Names the work in progress bar and log.
    workers
        1 computes in this process (as it must be for a GPU); more start that many processes.
    quick
        A block takes no longer than the start of a process. So the first is computed in this one, and as many as it
        takes until workers are seen to pay.
    overlapping
        Where this process computes, let `OVERLAPPED` threads call `work` at once, each for a block of its own.
    conclude
        Looks at the finished work, or puts it together, before it gets its name; raises what is wrong with it. A kill
        in its midst calls it again on what it left.
    part
        Compute only this share of the blocks and leave the rest, and the end, to other jobs. The job that gathers
        n parts is (n, n): it refuses to do alone what they did under another key.

    Returns
    -------
    int
        Number of blocks this call computed.

    Raises
    ------
    BlockFailed
        With the coordinates and traceback of the first failed block; finished blocks stay for the next attempt.
    InputError
        As raised by `work` or `conclude`, for a part that there isn't, and where parts worked under another key.
    """
    targets = [outputs] if isinstance(outputs, Path) else list(outputs)
    layout = [[side.start, side.stop] for block in blocks for side in (*block.write, *block.read)]
    manifest = Manifest(targets, content_hash({"key": key, "blocks": layout, "outputs": [t.name for t in targets]}))
    mine = blocks if part is None else share(blocks, part)
    last = part is None or part[0] == part[1]
    if last:
        if part is not None:
            manifest.expect_parts(blocks)
        manifest.discard_others()
    manifest.begin(create)
    manifest.forget_failures(mine)
    done = manifest.done()
    left = [block for block in mine if block.index not in done]
    with manifest.attempt(part), Progress(label, len(mine), len(mine) - len(left)) as progress:
        alone = workers == 1 or len(left) < 2
        patience = math.inf if alone else PATIENCE if quick else 0.0
        rest = compute_here(manifest, work, left, progress, patience, OVERLAPPED if alone and overlapping else 1)
        if rest:
            compute_in_workers(manifest, work, rest, progress, min(workers, len(rest)))
    if last:
        manifest.sweep()
        if conclude is not None:
            conclude(manifest.partials)
        manifest.finish()
    log.info("%s: computed %d of %d blocks", label, len(left), len(mine))
    return len(left)


def share(blocks: Sequence[Block], part: Part) -> Sequence[Block]:
    """Return one of several runs of neighbouring blocks, as equal as can be, or all for the job that gathers them.

    Raises InputError for a part that there isn't.
    """
    number, parts = part
    if parts < 1 or not 0 <= number <= parts:
        raise InputError(
            f"part {number} of {parts}",
            allowed="parts from 0 to one less than their number, which is the job that gathers them",
            remedy="correct the part",
        )
    if number == parts:
        return blocks
    return blocks[len(blocks) * number // parts : len(blocks) * (number + 1) // parts]


def compute_here(
    manifest: Manifest, work: Work, left: Sequence[Block], progress: Progress, patience: float, threads: int
) -> Sequence[Block]:
    """Compute blocks in order in this process while what is left would take no more than `patience` seconds.

    Returns the blocks that are left, all if there is no patience, none if `threads` compute some at once; at the first
    failure those that have begun end.
    """

    def compute(block: Block) -> None:
        try:
            work(manifest.partials, block)
        except InputError:
            raise
        except Exception as error:
            raise BlockFailed(failure(block, traceback.format_exc())) from error
        manifest.mark(block)

    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(compute, left):  # when one fails, or this is interrupted, it cancels those that wait
                progress.advance()
        return []
    start = time.perf_counter()
    for done, block in enumerate(left):
        seconds = (time.perf_counter() - start) / done * (len(left) - done) if done else 0.0
        if patience <= seconds:
            return left[done:]
        compute(block)
        progress.advance()
    return []


def compute_in_workers(manifest: Manifest, work: Work, left: Sequence[Block], progress: Progress, workers: int) -> None:
    """Let daisy spread blocks over processes; all blocks in flight end before a failure is raised."""
    unit = daisy.Roi((0,), (1,))
    task = daisy.Task(
        progress.label.replace(" ", "_").replace("/", "_"),
        total_roi=daisy.Roi((0,), (len(left),)),
        read_roi=unit,
        write_roi=unit,
        process_function=worker_loop(manifest, work, list(left), os.getpid()),
        read_write_conflict=False,
        max_workers=workers,
        max_retries=0,
        timeout=NEVER,
        tracking_path=False,
    )
    daisy.logging.set_log_basedir(manifest.folder / "logs" / uuid.uuid4().hex)
    crash = ""
    with watched(manifest, left, progress):
        try:
            daisy.run_blockwise(task, progress=False, block_tracking=False, summary=False, host="127.0.0.1")
        except RuntimeError as error:
            crash = str(error)
    failed = manifest.failed(left)
    for block in left:
        if block.index in failed:
            refused = failed[block.index]["input_error"]
            if refused is not None:
                raise InputError(refused[0], allowed=refused[1], remedy=refused[2])
            raise BlockFailed(failure(block, failed[block.index]["trace"]))
    done = manifest.done()
    for block in left:
        if block.index not in done:
            reason = f"a worker process ended without a traceback (killed, or out of memory?) {crash}".strip()
            raise BlockFailed(failure(block, reason))


def worker_loop(manifest: Manifest, work: Work, left: list[Block], parent: int) -> Callable[[], None]:
    """Return what each worker process runs: take blocks until there are none."""
    indices = {block.index for block in left}  # once: there may be a hundred thousand

    def loop() -> None:
        end_with_parent(parent)
        client = daisy.Client()
        while True:
            with client.acquire_block() as ticket:
                if ticket is None:
                    return
                block = left[ticket.write_roi.begin[0]]
                if not indices.isdisjoint(manifest.failures()):
                    continue
                try:
                    work(manifest.partials, block)
                    manifest.mark(block)
                except Exception as error:
                    manifest.fail(block, error)

    return loop


def end_with_parent(parent: int) -> None:
    """End this process soon after its parent: a killed job's workers must not write into its successor's output."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def watched(manifest: Manifest, left: Sequence[Block], progress: Progress) -> Iterator[None]:
    """Advance `progress` as marks of the blocks `left` appear."""
    ended = threading.Event()
    indices, before = {block.index for block in left}, progress.done

    def watch() -> None:
        pause = 1.0
        while True:
            last = ended.wait(pause)
            start = time.perf_counter()
            new = before + len(manifest.done() & indices) - progress.done
            pause = max(1.0, WATCHING * (time.perf_counter() - start))
            if new > 0:
                progress.advance(new)
            if last:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def failure(block: Block, reason: str) -> str:
    """Say which block failed, where it lies and why."""
    where = " ".join(f"{side.start}-{side.stop}" for side in block.write)
    return f"block {block.index} at {block.position}, voxels {where}, failed; finished blocks are kept\n{reason}"
