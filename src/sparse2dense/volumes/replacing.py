"""Files and folders that get their name whole: written under another one first, so a kill leaves nothing half-made."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_file", "directory_output", "partial_path", "remove", "replace", "waste_path"]


def partial_path(output: Path) -> Path:
    """Return where `output` is written until it is whole."""
    return output.with_name(output.name + ".partial")


def waste_path(path: Path) -> Path:
    """Return the name under which something is deleted; a kill can leave it, the next attempt removes it."""
    return path.with_name(path.name + ".waste")


def remove(path: Path) -> None:
    """Remove a file or a directory, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(partial: Path, output: Path) -> None:
    """Give `partial` the name `output`; what had it moves aside first, so that it is never seen half-deleted."""
    if output.exists() or output.is_symlink():
        waste = waste_path(output)
        remove(waste)
        output.rename(waste)
        partial.replace(output)
        remove(waste)
    else:
        partial.replace(output)


@contextmanager
def directory_output(path: Path) -> Iterator[Path]:
    """Yield an empty directory to fill; it becomes `path` when the body ends, and is removed when it raises."""
    partial = partial_path(path)
    remove(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        remove(partial)
        raise
    replace(partial, path)


@contextmanager
def atomic_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a path with the same suffix to write to; it becomes `path` at the end, and is removed on an error.

    Parameters
    ----------
    shared
        Another process may write the same file at the same time, as where a job is given out again while it still
        runs. Each then has a draft of its own, which a kill leaves behind; else the next attempt overwrites it.
    """
    own = f".{uuid.uuid4().hex}" if shared else ""
    partial = path.with_name(f"{path.stem}{own}.partial{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
