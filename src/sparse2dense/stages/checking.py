"""Checks of the input that need its headers, made before anything is computed."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.stages.importing import ImportPlan, check_source, plan_import
from sparse2dense.stages.memory import block_plans
from sparse2dense.stages.orienting import orientation_problems
from sparse2dense.stages.reusing import local_problems
from sparse2dense.volumes.blockwise import atomic_file

__all__ = ["check_run", "input_problems"]

log = logging.getLogger(__name__)

IMPORT_KEYS = ("dataset", "voxel_size", "offset", "crop")


def check_run(config: Mapping[str, Any], output: Path) -> None:
    """Check all input and write what was found to a JSON file.

    Parameters
    ----------
    config
        The blocks `volumes`, `nets`, `predict`, `segment`, `pseudo_truth` and `evaluate` of a configuration with its
        defaults.
    output
        JSON file with `volumes`, shape, type and voxel size of each, and `blocks`, how every stage cuts them: see
        `memory.BlockPlan`.

    Raises
    ------
    InputError
        For the last problem; those before it are logged.
    """
    problems, found = input_problems(config)
    for problem in problems[:-1]:
        log.error("%s", problem)
    if problems:
        raise problems[-1]
    blocks = [asdict(plan) for plan in block_plans(found, config)]
    with atomic_file(output) as file:
        file.write_text(json.dumps({"volumes": found, "blocks": blocks}, indent=2) + "\n")
    log.info("checked %d volumes", len(found))


def input_problems(config: Mapping[str, Any]) -> tuple[list[InputError], dict[str, dict[str, Any]]]:
    """Return all problems of the input, and shape, type, voxel size (nm) and offset (nm) of every readable image.

    Sources that are downloaded are checked when they arrive: by their checksum, and when they are imported.
    """
    problems: list[InputError] = []
    found: dict[str, dict[str, Any]] = {}
    for name, volume in config["volumes"].items():
        facts, wrong = image_facts(volume)
        problems += [named(name, "raw", problem) for problem in wrong]
        plan = facts.pop("plan", None)
        size = facts.get("voxel_size") or volume["raw"]["voxel_size"]  # of a download, if it is stated
        problems += orientation_problems(name, config["predict"]["orientations"], size) if size else []
        problems += label_problems(name, volume, plan)
        if "shape" in facts:
            found[name] = {"role": volume["role"], **facts}
            problems += section_problems(name, volume, facts["shape"])
            problems += offset_problems(name, config["nets"], facts["shape"])
    return problems + local_problems(config["nets"], found), found


def image_facts(volume: Mapping[str, Any]) -> tuple[dict[str, Any], list[InputError]]:
    """Return what is known of the image of a volume without reading voxels, and why it can't be read."""
    if "phantom" in volume:
        phantom = volume["phantom"]
        return {
            "shape": phantom["shape"],
            "dtype": "uint8",
            "voxel_size": phantom["voxel_size"],
            "offset": [0, 0, 0],
        }, []
    source = volume["raw"]
    if source["path"] is None:
        return {}, []
    try:
        plan = plan_import(Path(source["path"]), **{key: source[key] for key in IMPORT_KEYS})
    except InputError as error:
        return {}, [error]
    facts = {key: list(getattr(plan, key)) for key in ("shape", "voxel_size", "offset")}
    return {"plan": plan, "dtype": str(plan.dtype), **facts}, []


def label_problems(name: str, volume: Mapping[str, Any], image: ImportPlan | None) -> list[InputError]:
    """Return what is wrong with the labels of a volume, which must lie on its image, and with its skeletons."""
    problems = []
    for kind in ("truth", "painted", "painted_mask"):
        source = volume.get(kind)
        if source is not None and source["path"] is not None:
            settings = {**{key: source[key] for key in (*IMPORT_KEYS, "mapping")}, "labels": True}
            wrong = check_source(Path(source["path"]), settings, image)
            problems += [named(name, kind, problem) for problem in wrong]
    file = volume.get("skeletons", {}).get("path")
    if file is not None and not Path(file).is_file():
        missing = InputError(f"{file} doesn't exist", allowed="a file of skeletons", remedy="correct the path")
        problems.append(named(name, "skeletons", missing))
    return problems


def section_problems(name: str, volume: Mapping[str, Any], shape: list[int]) -> Iterator[InputError]:
    """Yield a problem for every annotated section that the volume does not have; labels may be smaller than raw."""
    sections = volume.get("annotation", {}).get("sections") or []
    beyond = [number for number in sections if number >= shape[0]]
    if beyond:
        yield InputError(
            f"`volumes.{name}.annotation.sections` holds {beyond}",
            allowed=f"0 to {shape[0] - 1}: the volume has {shape[0]} sections",
            remedy="count sections from 0, after cropping",
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
