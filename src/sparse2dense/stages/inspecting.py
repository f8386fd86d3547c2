"""Looks at a few sections of every image and its labels: what only voxels can tell, before the first job.

Of labels these are the annotated sections that the configuration names, and whole files where they are small; of
images a few. All is read and judged by what imports files and draws annotations: what passes here passes there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops import annotation
from sparse2dense.stages.checking import IMPORT_KEYS, LABELS, annotated_kind, named, voxels_between
from sparse2dense.stages.importing import ImportPlan, fingerprint, plan_import, read_block, read_mapping
from sparse2dense.stages.skeletonising import read_skeletons_in_place
from sparse2dense.volumes.grid import Block
from sparse2dense.volumes.skeleton_files import crop_to_extent

__all__ = ["inspect_input"]

Config = Mapping[str, Any]
SMALL = 2**26
"""Bytes of labels that are read whole in a second or two, so that sections need not be named."""
SPREAD = 3
"""Sections of other files that are looked at: the first, the last, and those evenly between them."""


@dataclass(frozen=True)
class Sections:
    """A file of which single sections are read as an import reads them.

    Parameters
    ----------
    plan
        What its import would write.
    table
        Maps its ids, where the configuration says so.
    """

    plan: ImportPlan
    table: NDArray[np.uint64] | None

    def __getitem__(self, number: int) -> NDArray[Any]:
        box = (slice(number, number + 1), slice(0, self.plan.shape[1]), slice(0, self.plan.shape[2]))
        try:
            return read_block(self.plan, Block(0, (0, 0, 0), box, box), self.table, fingerprint(self.plan.source))
        except InputError:
            raise
        except Exception as error:  # libraries of formats have errors of their own
            raise InputError(
                f"{self.plan.source}: section {number} can't be read: {error}",
                allowed="a whole file",
                remedy="open it in another program, or fetch it again",
            ) from error


def inspect_input(config: Config, found: Mapping[str, Config]) -> tuple[list[InputError], dict[str, dict[str, Any]]]:
    """Return what is wrong with the voxels of files on this machine, and what was seen in them.

    Parameters
    ----------
    config
        A configuration with its defaults.
    found
        What headers say of its volumes, without problems: see `checking.input_problems`.

    Returns
    -------
    tuple
        The problems; and by volume and kind of file: of `raw` the `sections` that were read and their lowest and
        highest value, `low` and `high`; of labels a row `section, objects, labelled` for each section, with the part of
        it that has a label, and whether `all` were read; of `skeletons` their number and that of their `nodes`.
    """
    problems: list[InputError] = []
    seen: dict[str, dict[str, Any]] = {}
    for name, facts in found.items():
        volume, looks = config["volumes"][name], {}
        for kind in ("raw", *(kind for kind in LABELS if kind in facts["labels"]), "skeletons"):
            if (volume.get(kind) or {}).get("path") is None:
                continue
            try:
                if kind == "skeletons":
                    looks[kind] = _skeletons(volume, facts)
                elif kind == "raw":
                    looks[kind] = _image(volume, facts)
                elif kind == annotated_kind(volume) and volume["role"] == "annotated":
                    wrong, looks[kind] = _annotated(name, kind, volume, facts)
                    problems += wrong
                elif kind != "painted_mask":  # looked at with the labels that it is of
                    looks[kind] = _labels(volume[kind])
            except InputError as error:
                problems.append(named(name, kind, error))
        seen[name] = looks
    return problems, seen


def _opened(source: Config, labels: bool) -> Sections:
    """Return the sections of a file as the configuration describes it."""
    path = Path(source["path"])
    plan = plan_import(path, **{key: source[key] for key in IMPORT_KEYS}, labels=labels)
    mapping = source["mapping"] if labels else None
    return Sections(plan, read_mapping(path, mapping) if mapping is not None else None)


def _spread(depth: int) -> list[int]:
    """Return the numbers of a few sections from the first to the last."""
    return sorted({round(number) for number in np.linspace(0, depth - 1, SPREAD)})


def _image(volume: Config, facts: Config) -> dict[str, Any]:
    """Return the range of values in a few sections of an image, and in those that are annotated."""
    image = _opened(volume["raw"], labels=False)
    numbers = set(_spread(image.plan.shape[0]))
    drawn = facts["labels"].get(annotated_kind(volume))
    first = 0 if drawn is None else round(voxels_between(facts, drawn)[0])
    numbers |= {number + first for number in volume.get("annotation", {}).get("sections") or []}
    ranges = [(values.min(), values.max()) for values in (image[number] for number in sorted(numbers))]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return {"sections": sorted(numbers), "low": low.item(), "high": high.item()}


def _labels(source: Config) -> dict[str, Any]:
    """Return what a few sections of labels hold that no annotation is taken from."""
    labels = _opened(source, labels=True)
    numbers = _spread(labels.plan.shape[0])
    counts = annotation.sum_counts(annotation.count_labels(labels[number], first_section=number) for number in numbers)
    return {"sections": _rows(counts, numbers, labels.plan), "all": len(numbers) == labels.plan.shape[0]}


def _annotated(name: str, kind: str, volume: Config, facts: Config) -> tuple[list[InputError], dict[str, Any]]:
    """Return what is wrong with the labels that an annotation is taken from, and what they hold."""
    labels, settings = _opened(volume[kind], labels=True), volume["annotation"]
    masked = kind == "painted" and "painted_mask" in volume
    mask = _opened(volume["painted_mask"], labels=True) if masked and "painted_mask" in facts["labels"] else None
    depth, chosen, validation = labels.plan.shape[0], settings["sections"], settings["validation"]
    everything = chosen is None and prod(labels.plan.shape) * labels.plan.dtype.itemsize <= SMALL
    numbers = sorted({*(range(depth) if everything else _spread(depth) if chosen is None else chosen)})
    if validation is not None and validation < depth:
        numbers = sorted({*numbers, validation})
    tables, silent = [], []
    for number in numbers:
        drawn, spoken = annotation.painted(
            labels[number], None if mask is None else mask[number], zero=settings["zero"]
        )
        tables.append(annotation.count_labels(drawn, first_section=number))
        if not spoken.any() and (mask is not None or not masked):  # a mask that is yet to come may speak there
            silent.append(number)
    counts = annotation.sum_counts(tables)
    problems = list(_silent_problems(name, settings, silent))
    if not problems and (everything or chosen is not None) and not (masked and mask is None):
        problems = list(_count_problems(name, labels.plan.source, settings, annotation.label_statistics(counts)))
    if everything:
        numbers = [number for number in numbers if number not in silent]
        problems += _outside_problems(name, kind, facts, numbers)
    rows = _rows(counts, numbers, labels.plan)
    return problems, {"sections": rows, "all": everything or len(numbers) == depth}


def _silent_problems(name: str, settings: Config, silent: Sequence[int]) -> Iterator[InputError]:
    """Yield a problem for sections that the configuration names, and of which the labels say nothing."""
    empty = [number for number in settings["sections"] or [] if number in silent]
    if empty:
        yield InputError(
            f"`volumes.{name}.annotation.sections` holds {empty}, on which nothing is annotated",
            allowed="numbers of sections, from 0, on which the labels have an object",
            remedy="save the labels of these sections, or remove them from the list",
        )
    elif settings["validation"] in silent:
        yield InputError(
            f"`volumes.{name}.annotation.validation` is {settings['validation']}, on which nothing is annotated",
            allowed="the number of a section, from 0, on which the labels have an object",
            remedy="choose another section, or remove `validation`",
        )


def _count_problems(name: str, source: Path, settings: Config, objects: pd.DataFrame) -> Iterator[InputError]:
    """Yield a problem where the annotated sections hold fewer objects than are asked for, or none that is left."""
    for draw, key in (("objects", "objects"), ("fraction", "parts")):
        if settings["draw"] == draw and settings[key] > len(objects):
            yield InputError(
                f"`volumes.{name}.annotation.{key}` is {settings[key]}, but {source} has {len(objects)} objects there",
                allowed=f"at most {len(objects)}",
                remedy=f"lower `{key}`, or name more `sections`",
            )
    large = int((objects["voxels"] >= settings["minimum_size"]).sum())
    if large == 0:
        at_least = f" of at least {settings['minimum_size']} voxels" if len(objects) else ""
        yield InputError(
            f"`volumes.{name}.annotation`: {source} has no object{at_least} to learn from",
            allowed="at least one object on the annotated sections",
            remedy="save the labels, not an empty layer; or name other sections or another file or dataset",
        )


def _outside_problems(name: str, kind: str, facts: Config, painted: Sequence[int]) -> Iterator[InputError]:
    """Yield a problem where sections are painted that the image doesn't have."""
    first = round(voxels_between(facts, facts["labels"][kind])[0])
    outside = [number for number in painted if not 0 <= number + first < facts["shape"][0]]
    if outside:
        yield InputError(
            f"`volumes.{name}.{kind}` is annotated on the sections {outside}, which lie outside of the image",
            allowed="annotated sections that the image has",
            remedy="correct `offset` or `crop` of one of them, or name the sections that count in `sections`",
        )


def _rows(counts: pd.DataFrame, numbers: Sequence[int], plan: ImportPlan) -> list[dict[str, Any]]:
    """Return number of objects and labelled part of sections."""
    found = counts.groupby("section")["voxels"].agg(["size", "sum"]).reindex(list(numbers), fill_value=0)
    pixels = plan.shape[1] * plan.shape[2]
    return [
        {"section": number, "objects": int(objects), "labelled": float(voxels / pixels)}
        for number, objects, voxels in found.itertuples()
    ]


def _skeletons(volume: Config, facts: Config) -> dict[str, Any]:
    """Return how many skeletons and nodes of a file lie in the image."""
    given = volume["skeletons"]
    path = Path(given["path"])
    read = read_skeletons_in_place(path, voxel_size=given["voxel_size"], offset=given["offset"])
    sides = zip(facts["offset"], facts["shape"], facts["voxel_size"], strict=True)
    extent = [(start, start + count * size) for start, count, size in sides]
    inside = crop_to_extent(read, path, Path(facts["path"] or "the generated image"), extent, given["region"])
    return {"skeletons": len(np.unique(inside.skeleton)), "nodes": len(inside)}
