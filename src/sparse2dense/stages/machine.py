"""What this machine lets a process have, which may be less than it is built with."""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["machine_megabytes", "memory_limit"]

UNLIMITED = 2**60
"""Bytes; the first version of control groups has no word for `no limit`, but says the largest number that it knows."""


def machine_megabytes() -> int:
    """Return the memory that processes here may take together, in MB (10^6 bytes): all there is, or their share."""
    built_in = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = memory_limit()
    return int(min(built_in, limit if limit is not None else built_in) / 1e6)


def memory_limit(membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how many bytes the control groups of this process may take; None where nothing limits them.

    Inside a container or an interactive job of a cluster the machine has more than may be used. Both versions of Linux'
    control groups are read; the smallest limit of a group and those around it holds.

    Parameters
    ----------
    membership
        What lists the groups of this process.
    root
        Where groups are mounted.
    """
    if not membership.is_file():
        return None
    found = [int(text) for line in membership.read_text().splitlines() for text in _limits(line, root)]
    return min(found, default=None)


def _limits(line: str, root: Path) -> Iterator[str]:
    """Yield the limits of the group that a line of the form `number:controllers:path` names, and of those around it."""
    _, controllers, place = line.split(":", 2)
    if controllers not in ("", "memory"):
        return
    base, name = (root, "memory.max") if controllers == "" else (root / "memory", "memory.limit_in_bytes")
    group = base / place.lstrip("/")
    # In a container the path may be that outside of it, of which only the last folder, the mount itself, is there.
    for folder in (group, *group.parents):
        if not folder.is_relative_to(base):
            return
        file = folder / name
        text = file.read_text().strip() if file.is_file() else "max"
        if text.isdigit() and int(text) < UNLIMITED:
            yield text
