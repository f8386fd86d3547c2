"""What was found in the input, as tables to read before a run: images, labels, and annotated sections."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sparse2dense.stages.checking import LABELS, annotated_kind
from sparse2dense.stages.memory import block_plans
from sparse2dense.stages.text_tables import aligned, by, gigabytes
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["input_text", "write_check"]

Config = Mapping[str, Any]
COLUMNS = ("", "shape (z, y, x)", "type", "voxel (nm)", "corner (nm)", "GB", "what was read")
MOST_ROWS = 20
"""Sections of a volume that have a line each."""
SCANT = 0.1
"""Sections labelled less than this part of the usual one were perhaps annotated by accident."""


def write_check(
    output: Path, text: Path, config: Config, found: Mapping[str, Config], seen: Mapping[str, Config]
) -> None:
    """Write what was found in the input: to the JSON file `output` as data, to the file `text` to read.

    Parameters
    ----------
    output
        Will hold `volumes`, what headers say of each, `seen`, what a few sections show, and `blocks`, how every stage
        cuts the volumes: see `checking.input_problems`, `inspecting.inspect_input` and `memory.BlockPlan`.
    text
        Will hold what `input_text` returns.
    config
        A configuration with its defaults.
    found, seen
        What headers and what voxels say of its volumes.
    """
    content = {"volumes": found, "seen": seen, "blocks": [asdict(plan) for plan in block_plans(found, config)]}
    with atomic_file(output) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")
    with atomic_file(text) as file:
        file.write_text(input_text(config, found, seen))


def input_text(config: Config, found: Mapping[str, Config], seen: Mapping[str, Config]) -> str:
    """Return the input of a run as text: a paragraph per volume with a table of its files and of annotated sections.

    Parameters are as for `write_check`.
    """
    parts = ["INPUT, as it will be imported: after `crop`, sections counted from 0"]
    for name, volume in config["volumes"].items():
        if name in found:
            parts.append("\n".join(_volume_lines(name, volume, found[name], seen.get(name, {}))))
        else:
            parts.append(f"{name}, {volume['role']}: not known before it is downloaded")
    parts.append("Nothing is wrong with what is listed here, the configuration, and the memory that blocks need.")
    return "\n\n".join(parts) + "\n"


def _volume_lines(name: str, volume: Config, facts: Config, seen: Config) -> Iterator[str]:
    """Yield a table of the files of a volume, their paths, and a table of its annotated sections."""
    yield f"{name}, {volume['role']}"
    files = {"raw": facts, **facts["labels"]}
    yield from aligned([COLUMNS, *(_file_row(kind, one, seen.get(kind)) for kind, one in files.items())])
    for kind in ("raw", *LABELS):
        if kind in files:
            dataset = f", dataset {files[kind]['dataset']}" if files[kind]["dataset"] else ""
            yield f"  {kind}: {files[kind]['path'] or 'generated'}{dataset}"
        elif kind in volume:
            yield f"  {kind}: not known before it is downloaded"
    if "skeletons" in seen:
        nodes = seen["skeletons"]
        yield f"  skeletons: {nodes['skeletons']:,} with {nodes['nodes']:,} nodes from {volume['skeletons']['path']}"
    if volume["role"] == "annotated":
        yield from _annotation_lines(volume["annotation"], seen.get(annotated_kind(volume)))


def _file_row(kind: str, facts: Config, seen: Config | None) -> Sequence[str]:
    """Return the cells of one file."""
    size = prod(facts["shape"]) * np.dtype(facts["dtype"]).itemsize
    place = (by([float(length) for length in facts[key]]) for key in ("voxel_size", "offset"))
    return (kind, by(facts["shape"]), facts["dtype"], *place, gigabytes(size), _what_was_read(kind, seen))


def _what_was_read(kind: str, seen: Config | None) -> str:
    """Say in a few words what was seen of a file."""
    if seen is None:
        return "-"
    count = len(seen["sections"])
    sections = f"{count} section{'s' * (count != 1)}"
    if kind == "raw":
        return f"{seen['low']:.4g} to {seen['high']:.4g} in {sections}"
    objects = sum(row["objects"] for row in seen["sections"])
    return f"{objects:,} profiles on {'all ' * seen['all']}{sections}"


def _annotation_lines(annotation: Config, seen: Config | None) -> Iterator[str]:
    """Yield how a volume is annotated, and a table of its annotated sections as far as they are known."""
    how = f"  annotation: {annotation['draw']}, 0 is {annotation['zero']}"
    if annotation["sections"]:
        how += f", {len(set(annotation['sections']))} sections"
    if annotation["validation"] is not None:
        how += f", section {annotation['validation']} for validation"
    yield how
    rows = seen["sections"] if seen is not None else []
    if not rows:
        return
    usual = median(row["labelled"] for row in rows)
    table: list[Sequence[str]] = [("section", "objects", "labelled", "")]
    for row in rows[:MOST_ROWS]:
        scant = "hardly annotated: by accident?" if row["labelled"] < SCANT * usual else ""
        table.append((str(row["section"]), f"{row['objects']:,}", f"{row['labelled']:.1%}", scant))
    yield from aligned(table, left=0, indent="    ")
    if len(rows) > MOST_ROWS:
        yield f"    and {len(rows) - MOST_ROWS:,} more, all of them in check.json"
