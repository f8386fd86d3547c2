"""Several passes over the blocks of a volume, each of which needs what those before found of the whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse2dense.volumes.blockwise import Create, Work, run_blockwise
from sparse2dense.volumes.grid import Block
from sparse2dense.volumes.provenance import content_hash
from sparse2dense.volumes.replacing import remove, waste_path

__all__ = ["Passes", "passes_for"]


def make_folder(paths: Sequence[Path]) -> None:
    """Make what a pass fills with files of its blocks."""
    paths[0].mkdir()


@dataclass(frozen=True)
class Passes:
    """What passes find, each computed once.

    Parameters
    ----------
    folder
        Where it is kept.
    blocks
        All blocks of the volume.
    workers
        Processes that work on blocks.
    """

    folder: Path
    blocks: Sequence[Block]
    workers: int

    def run(
        self,
        name: str,
        work: Work,
        *,
        create: Create = make_folder,
        conclude: Callable[[Sequence[Path]], None] | None = None,
    ) -> Path:
        """Return what a pass found, a folder or volume; computed by `run_blockwise` unless it is there."""
        path = self.folder / name
        if not path.exists():
            label = f"{name.split('.')[0]} {self.folder.name.split('.')[0]}"
            run_blockwise(path, {}, create, work, self.blocks, label=label, workers=self.workers, conclude=conclude)
        return path


@contextmanager
def passes_for(output: Path, key: Mapping[str, Any], tiles: Sequence[Block], *, workers: int = 1) -> Iterator[Passes]:
    """Yield passes on the way to `output`; what they found goes when the body ends, and stays when it raises.

    Parameters
    ----------
    output
        What the body makes. The passes are kept beside it, under a name that no rule declares.
    key
        Everything that makes finished passes valid; those under another key are discarded.
    tiles, workers
        As in `run_blockwise`.
    """
    layout = [[side.start, side.stop] for block in tiles for side in block.write]
    stamp = content_hash({"key": key, "blocks": layout})[:12]
    folder = output.with_name(f"{output.name}.{stamp}.passes")
    for other in output.parent.glob(f"{output.name}.*.passes*"):
        if other != folder:
            remove(other)
    yield Passes(folder, tiles, workers)
    if folder.exists():
        # in one step, so that a kill never leaves passes that look whole
        folder.rename(waste_path(folder))
        remove(waste_path(folder))
