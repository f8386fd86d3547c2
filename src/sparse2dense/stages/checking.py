"""Checks of the input that need its headers, made at every start; what needs voxels is in `inspecting`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.stages.consistency import voxel_size_problems
from sparse2dense.stages.importing import ImportPlan, check_source, plan_import
from sparse2dense.stages.orienting import orientation_problems
from sparse2dense.stages.reusing import local_problems
from sparse2dense.volumes.volume import open_volume

__all__ = ["IMPORT_KEYS", "LABELS", "annotated_kind", "input_problems", "known_sizes", "named", "voxels_between"]

IMPORT_KEYS = ("dataset", "voxel_size", "offset", "crop")
LABELS = ("truth", "painted", "painted_mask")
OFF_GRID = 1e-3
"""Voxels by which labels may lie beside the voxels of the image: digits that a format rounds off."""


def input_problems(config: Mapping[str, Any]) -> tuple[list[InputError], dict[str, dict[str, Any]]]:
    """Return all problems that headers show, and what they say of every readable image and its labels.

    Sources that are downloaded are checked when they arrive: by their checksum, and when they are imported.

    Returns
    -------
    tuple
        The problems; and by the name of the volume its `role`, the `shape`, `dtype`, `voxel_size` (nm), `offset` (nm),
        `path` and `dataset` of its image, `whole_sections` (see `ImportPlan`), and in `labels` the same by kind of
        labels. A generated volume has no path.
    """
    problems: list[InputError] = []
    found: dict[str, dict[str, Any]] = {}
    for name, volume in config["volumes"].items():
        image, labels, wrong = _volume_facts(name, volume)
        problems += wrong
        size = image.get("voxel_size") or volume["raw"]["voxel_size"]  # of a download, if it is stated
        problems += orientation_problems(name, config["predict"]["orientations"], size) if size else []
        if image:
            found[name] = {"role": volume["role"], **image, "labels": labels}
            problems += section_problems(name, volume, image, labels.get(annotated_kind(volume)))
            problems += offset_problems(name, config["nets"], image["shape"])
    problems += voxel_size_problems(config, {name: facts["voxel_size"] for name, facts in found.items()})
    return problems + local_problems(config["nets"], found), found


def known_sizes(
    config: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], results: Path
) -> dict[str, dict[str, Any]]:
    """Return `shape` and `voxel_size` (nm) of every image of which they are known before a job runs.

    Those of a download are known where its `crop` and `voxel_size` are stated, or once it was imported.

    Parameters
    ----------
    config, found
        A configuration with its defaults, and what `input_problems` found by it.
    results
        The folder of the run.
    """
    known: dict[str, dict[str, Any]] = {}
    for name, volume in config["volumes"].items():
        imported = results / name / "raw.zarr"
        if name in found:
            facts = found[name]
            known[name] = {"shape": facts["shape"], "voxel_size": facts["voxel_size"]}
        elif volume["raw"]["crop"] and volume["raw"]["voxel_size"]:
            shape = [stop - start for start, stop in volume["raw"]["crop"]]
            known[name] = {"shape": shape, "voxel_size": volume["raw"]["voxel_size"]}
        elif imported.is_dir():
            raw = open_volume(imported)
            known[name] = {"shape": list(raw.shape), "voxel_size": list(raw.voxel_size)}
    return known


def annotated_kind(volume: Mapping[str, Any]) -> str:
    """Return which labels of a volume its annotation is taken or drawn from."""
    return "painted" if volume.get("annotation", {}).get("draw") == "painted" else "truth"


def voxels_between(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[float]:
    """Return how many voxels (z, y, x) lie from the corner of `one` to that of `other`, of facts as found."""
    places = zip(one["offset"], other["offset"], one["voxel_size"], strict=True)
    return [(there - here) / side for here, there, side in places]


def _volume_facts(
    name: str, volume: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], list[InputError]]:
    """Return what the headers say of the image of a volume and of its labels by kind, and what is wrong with them."""
    problems = list(skeleton_problems(name, volume))
    if "phantom" in volume:
        made = volume["phantom"]
        facts: dict[str, Any] = {"shape": list(made["shape"]), "voxel_size": list(made["voxel_size"])}
        facts |= {"offset": [0, 0, 0], "path": None, "dataset": None, "whole_sections": True}
        return {**facts, "dtype": "uint8"}, {"truth": {**facts, "dtype": "uint64"}}, problems
    image, wrong = _planned(name, "raw", volume["raw"], None)
    problems += wrong
    labels = {}
    for kind in LABELS:
        if kind in volume:
            plan, wrong = _planned(name, kind, volume[kind], image)
            problems += wrong
            if plan is not None:
                labels[kind] = _facts(plan)
    if "painted" in labels and "painted_mask" in labels:
        problems += mask_problems(name, labels["painted"], labels["painted_mask"])
    return _facts(image) if image is not None else {}, labels, problems


def _planned(
    name: str, kind: str, source: Mapping[str, Any], image: ImportPlan | None
) -> tuple[ImportPlan | None, list[InputError]]:
    """Return what importing a file would write, None where it is downloaded or unusable, and what is wrong with it."""
    if source["path"] is None:
        return None, []
    settings = {key: source[key] for key in IMPORT_KEYS}
    if kind != "raw":
        settings |= {"mapping": source["mapping"], "labels": True}
    problems = check_source(Path(source["path"]), settings, image)
    if problems:
        return None, [named(name, kind, problem) for problem in problems]
    settings.pop("mapping", None)
    plan = plan_import(Path(source["path"]), **settings)
    return plan, [named(name, kind, problem) for problem in grid_problems(plan, image)] if image is not None else []


def _facts(plan: ImportPlan) -> dict[str, Any]:
    """Return what is known of a file without reading voxels, as plain data."""
    facts = {key: list(getattr(plan, key)) for key in ("shape", "voxel_size", "offset")}
    other = {"dtype": str(plan.dtype), "path": str(plan.source), "dataset": plan.dataset}
    return {**facts, **other, "whole_sections": plan.whole_sections}


def skeleton_problems(name: str, volume: Mapping[str, Any]) -> Iterator[InputError]:
    """Yield a problem where the file of skeletons is missing."""
    file = volume.get("skeletons", {}).get("path")
    if file is not None and not Path(file).is_file():
        missing = InputError(f"{file} doesn't exist", allowed="a file of skeletons", remedy="correct the path")
        yield named(name, "skeletons", missing)


def grid_problems(plan: ImportPlan, image: ImportPlan) -> Iterator[InputError]:
    """Yield a problem where labels lie between the voxels of the image."""
    between = voxels_between(_facts(image), _facts(plan))
    if any(abs(steps - round(steps)) > OFF_GRID for steps in between):
        yield InputError(
            f"{plan.source} begins {' x '.join(f'{steps:g}' for steps in between)} voxels behind {image.source}",
            allowed="labels on the voxels of the image: offsets that differ by whole voxels",
            remedy="correct `offset` or `crop` of one of them",
        )


def mask_problems(name: str, painted: Mapping[str, Any], mask: Mapping[str, Any]) -> Iterator[InputError]:
    """Yield a problem where the mask of painted labels isn't of the same voxels as the labels."""
    shape, offset, size = ([facts[key] for facts in (mask, painted)] for key in ("shape", "offset", "voxel_size"))
    if any(one != other for one, other in (shape, offset, size)):
        yield InputError(
            f"volumes.{name}.painted_mask: shape {shape[0]}, offset {offset[0]}, voxel size {size[0]}",
            allowed=f"those of painted: {shape[1]}, {offset[1]}, {size[1]}",
            remedy="give a mask of the same crop as the painted labels",
        )


def section_problems(
    name: str, volume: Mapping[str, Any], image: Mapping[str, Any], labels: Mapping[str, Any] | None
) -> Iterator[InputError]:
    """Yield a problem for annotated sections that the labels, where they are known, or the image don't have."""
    sections: Sequence[int] = volume.get("annotation", {}).get("sections") or []
    known, what = (image, "the volume has") if labels is None else (labels, "the labels have")
    depth = known["shape"][0]
    beyond = [number for number in sections if number >= depth]
    if beyond:
        yield InputError(
            f"`volumes.{name}.annotation.sections` holds {beyond}",
            allowed=f"0 to {depth - 1}: {what} {depth} sections",
            remedy="count sections from 0, after cropping",
        )
    first = round(voxels_between(image, known)[0])
    outside = [number for number in sections if number < depth and not 0 <= number + first < image["shape"][0]]
    if outside:
        yield InputError(
            f"`volumes.{name}.annotation.sections` holds {outside}",
            allowed=f"{max(0, -first)} to {min(depth, image['shape'][0] - first) - 1}: sections of the labels that lie "
            "in the image",
            remedy="correct `offset` or `crop` of the labels or the image, or remove these sections",
        )


def offset_problems(name: str, nets: Mapping[str, Any], shape: list[int]) -> Iterator[InputError]:
    """Yield a problem for every affinity that links to a voxel beyond the volume, wherever it starts."""
    for net, settings in nets.items():
        for offset in settings["offsets"]:
            if any(-step >= side for step, side in zip(offset, shape[-len(offset) :], strict=True)):
                yield InputError(
                    f"`nets.{net}.offsets` holds {offset}, and volume {name} has the shape {shape}",
                    allowed="steps shorter than every volume",
                    remedy="shorten the step, or use a larger part of the volume",
                )


def named(volume: str, kind: str, error: InputError) -> InputError:
    """Return `error` with the key of the configuration that names the file."""
    return InputError(f"`volumes.{volume}.{kind}`: {error.problem}", allowed=error.allowed, remedy=error.remedy)
