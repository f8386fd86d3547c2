"""The first configuration for somebody's own data: written from what the files say, with a reason beside every choice.

Nothing is decided silently. What only the user can know is suggested, marked CHECK, and explained in place.
"""

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from textwrap import wrap
from typing import Any

import yaml

from sparse2dense.errors import InputError
from sparse2dense.ops.painting import REACH, PaintedSection, suggest_validation, suggest_zero
from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.gpus import visible_gpus
from sparse2dense.stages.memory import this_machine
from sparse2dense.stages.surveying import Survey
from sparse2dense.stages.volume_consistency import RUN_FOLDERS
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["check_place", "config_text", "has_gpu", "write_first_config"]

SCHEMA = Path("workflow/schemas/config.schema.yaml")
PRESETS = Path("config/presets")
RESULTS = Path("results")
MADE_FOR = {"isotropic": (8, 8, 8), "anisotropic": (40, 4, 4)}
FLAT = 4
"""Sections so many times thicker than pixels are segmented one by one."""
OTHERWISE = 1.5
"""How much finer or coarser pixels may be than those of a preset."""
THIN = 30
"""Sections of a volume, fewer than which leave too few objects on the usual least number of sections."""
UNKNOWN = (8.0, 8.0, 8.0)
"""Stands in for a voxel size that the user has still to fill in."""


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU."""
    return this_machine(1).gpu


def write_first_config(target: Path, found: Survey, *, gpu: bool) -> str:
    """Write a commented configuration to `target`, once it is known to be accepted.

    Parameters
    ----------
    target
        The file to write; its name becomes that of the run.
    found
        What is known of the data.
    gpu
        Whether the nets are to be those that a GPU trains, or those for a CPU.

    Returns
    -------
    str
        What was found and chosen, for the terminal.

    Raises
    ------
    InputError
        When `target` or results of its run exist, the project isn't here, or the data can't be used.
    """
    check_place(target)
    kind, reason = choose_preset(found.voxel_size)
    preset = PRESETS / f"{kind}{'' if gpu else '_cpu'}.yaml"
    settings, dropped = fitting(yaml.safe_load(preset.read_text()), found.shape)
    text = config_text(target, found, settings, preset, [reason, *dropped])
    refuse_unusable(text, found)
    with atomic_file(target) as file:
        file.write_text(text)
    return summary(target, found, preset)


def check_place(target: Path) -> None:
    """Raise InputError when `target` or results of its run exist, or the project isn't here; nothing is read before."""
    if target.exists():
        raise InputError(
            f"{target} exists already",
            allowed="the name of a new file",
            remedy="choose another name, or remove the file",
        )
    results = RESULTS / run_name(target)
    if results.exists():
        raise InputError(
            f"{results} exists already, and would be that of {target} too",
            allowed="a file whose name is that of a new run",
            remedy="choose another name for the file, or remove these results",
        )
    if not SCHEMA.is_file() or not PRESETS.is_dir():
        raise InputError(
            f"{Path.cwd()} isn't the directory of the project",
            allowed="the directory with `Snakefile`, `workflow` and `config`",
            remedy="change into it first",
        )


def choose_preset(voxel_size: Sequence[float] | None) -> tuple[str, str]:
    """Return the kind of preset for a voxel size in nm, and why."""
    if voxel_size is None:
        hint = "for thick sections remove this file, and give the size: --voxel-size 40 4 4"
        return "isotropic", f"CHECK: made for cubes, because the voxel size isn't known; {hint}."
    z, y, x = voxel_size
    ratio = z / min(y, x)
    kind = "anisotropic" if ratio >= FLAT else "isotropic"
    how = f"Sections {ratio:.3g} times as thick as pixels" if ratio != 1 else "Voxels that are cubes"
    made = MADE_FOR[kind]
    if kind == "isotropic" and ratio > OTHERWISE:
        return kind, f"CHECK: {how} lie between two presets; docs/howto/anisotropy.md says which numbers to change."
    if not made[2] / OTHERWISE <= min(y, x) <= made[2] * OTHERWISE:
        size = " x ".join(map(str, made))
        return kind, f"CHECK: {how}, but the preset is made for {size} nm: scale offsets and sigma by the pixels' size."
    return kind, f"{how}."


def fitting(preset: Mapping[str, Any], shape: Sequence[int]) -> tuple[dict[str, Any], list[str]]:
    """Return a preset without affinities that are too long for a volume, and a remark on each net that lost some."""
    fitted: dict[str, Any] = copy.deepcopy(dict(preset))
    remarks = []
    for name, net in fitted["nets"].items():
        sides = shape[-len(net["input_shape"]) :]
        short = [step for step in net["offsets"] if all(-s < side for s, side in zip(step, sides, strict=True))]
        lost = len(net["offsets"]) - len(short)
        net["offsets"] = short
        if lost:
            remarks.append(f"Offsets of {name} that reach beyond so small a volume are left out: {lost}.")
    return fitted, remarks


def config_text(target: Path, found: Survey, settings: Mapping[str, Any], preset: Path, remarks: Sequence[str]) -> str:
    """Return the text of a configuration for an image with painted sections.

    Parameters
    ----------
    target
        The file that it is for.
    found
        What is known of the data.
    settings
        The blocks `nets`, `predict` and `segment`.
    preset, remarks
        Where these are from; what to say of them.
    """
    lines = [
        *_head(target, found),
        *_volume(found),
        "",
        *(f"# {line}" for remark in remarks for line in wrap(remark, 116)),
        f"# As in {preset}; every key with its default: config/README.md.",
    ]
    for name in ("nets", "predict", "segment"):
        lines += [f"{name}:", *_indented(settings[name])]
    if found.shape[0] < THIN:
        least = max(1, found.shape[0] // 3)
        lines += [
            "",
            f"# Objects on fewer sections teach the 3D net nothing; 10 is much in a volume of {found.shape[0]}.",
        ]
        lines += ["pseudo_truth:", f"  minimum_sections: {least}"]
    if preset.stem.startswith("anisotropic"):
        lines += ["", "# Voxels so near a boundary don't count in scores; none along thick sections."]
        lines += ["evaluate:", "  border: [0, 4, 4]"]
    return "\n".join(lines) + "\n"


def _head(target: Path, found: Survey) -> Iterator[str]:
    """Yield what stands above the volumes."""
    cores = len(os.sched_getaffinity(0))
    memory, gpus = this_machine(cores).megabytes / 1e3, len(visible_gpus())
    yield "# Written by `sparse2dense new` from what the files say. Read the lines marked CHECK, change what you like:"
    yield f"#   snakemake check --configfile {quote(str(target))}      what was found in the files; nothing is computed"
    yield f"#   snakemake --configfile {quote(str(target))}            everything"
    yield f"# Written on a machine with {cores} CPU cores, {gpus or 'no'} GPU and {memory:.0f} GB of memory. A run"
    yield "# takes all cores and GPUs; with `--cores 4` fewer cores, with `--profile slurm` a cluster."
    for remark in found.remarks:
        yield f"# CHECK: {remark}"
    yield f"run: {flow(run_name(target))}     # results/<run>"
    yield "seed: 1"
    yield ""


def run_name(target: Path) -> str:
    """Return the name of a configuration's file as one of a run."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", target.stem).lstrip("_.-") or "run"


def _volume(found: Survey) -> Iterator[str]:
    """Yield the block `volumes`."""
    low, high = found.values
    shape = " x ".join(map(str, found.shape))
    yield "volumes:"
    yield f"  {flow(volume_name(found))}:"
    yield "    role: annotated               # trains the 2D net; the threshold is chosen on it"
    yield f"    # {shape} voxels (z, y, x), {found.dtype}, values from {low:g} to {high:g} in the middle section."
    yield "    raw:"
    yield from _source(found.raw, found.raw_dataset, found)
    yield "    painted:"
    yield from _source(found.painted, found.painted_dataset, found)
    yield "    annotation:"
    yield from _annotation(found.sections, found.shape[0])
    size = "[z, y, x]" if found.voxel_size is None else flow(list(found.voxel_size))
    yield "  # The rest of the volume: segmented as well, and gives pseudo ground truth. Take the # away."
    yield "  # rest:"
    yield "  #   role: unlabelled"
    yield f"  #   raw: {{ path: data/rest.tif, voxel_size: {size} }}"
    yield "  # A second crop with dense labels: no net sees it, and it is scored."
    yield "  # second:"
    yield "  #   role: test"
    yield f"  #   raw: {{ path: data/second.tif, voxel_size: {size} }}"
    yield f"  #   truth: {{ path: data/second_truth.tif, voxel_size: {size} }}"


def volume_name(found: Survey) -> str:
    """Return the name of the image's file as one of a volume."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", found.raw.name.split(".")[0]) or "crop"
    return f"{name}_crop" if name in RUN_FOLDERS else name


def _source(path: Path, dataset: str | None, found: Survey) -> Iterator[str]:
    """Yield the keys of an image or of labels."""
    yield f"      path: {flow(str(path))}"
    if dataset is not None:
        yield f"      dataset: {flow(dataset)}"
    if found.voxel_size is None:
        yield "      voxel_size: null            # CHECK: fill in z, y, x in nm, as [8, 8, 8]; the files don't say it"
    else:
        yield f"      voxel_size: {flow(list(found.voxel_size))}       # nm: z, y, x; {found.origin}"
    if found.offset is not None:
        yield f"      offset: {flow(list(found.offset))}       # nm: z, y, x; so says one of the files"


def _annotation(sections: Sequence[PaintedSection], depth: int) -> Iterator[str]:
    """Yield the keys of the annotation, each with its reason."""
    zero, barest = suggest_zero(sections)
    why = f"{barest.bare:.1%} of section {barest.number} are 0 and farther than {REACH} pixels from any paint"
    yield "      # CHECK: what 0 means in the labels. The wrong answer ruins the training."
    yield "      #   unlabelled   nothing is known there: right when some objects of these sections are not painted"
    yield "      #   background   no object is there: right when every object of these sections is painted"
    yield f"      # {'At most ' if zero == 'background' else ''}{why}:"
    if zero == "background":
        yield "      # that looks as if every object were painted, and 0 were membrane. Not sure? unlabelled is safer."
    else:
        yield "      # that looks as if some objects were left out, so unlabelled. If nothing is there: background."
    yield f"      zero: {zero}"
    validation = suggest_validation(sections)
    for section in sections if len(sections) <= 12 else ():
        yield f"      # section {section.number}: {section.objects} objects on {section.painted:.0%}"
    if len(sections) < depth:
        yield f"      sections: {[section.number for section in sections]}"
    else:
        yield f"      # All {depth} sections are painted."
    if validation is None:
        yield "      # Too few sections to keep one out of the training: a part of each is kept out instead."
    else:
        yield f"      validation: {validation}              # kept out of the training, which is judged by it"


def _indented(block: Mapping[str, Any], depth: int = 1) -> Iterator[str]:
    """Yield a block of YAML, the innermost values on one line."""
    for key, value in block.items():
        if isinstance(value, dict) and depth < 2:
            yield f"{'  ' * depth}{key}:"
            yield from _indented(value, depth + 1)
        else:
            yield f"{'  ' * depth}{key}: {flow(value)}"


def flow(value: Any) -> str:
    """Return a value as YAML on one line, plain where it can be."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + " }"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    # YAML takes `no`, `null` and `2024_11_21` for something else than text.
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z./][\w./-]*", value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def refuse_unusable(text: str, found: Survey) -> None:
    """Raise the first InputError that a configuration would be refused with, but for a missing voxel size."""
    config = yaml.safe_load(text)
    for volume in config["volumes"].values():
        for kind in ("raw", "painted"):
            if found.voxel_size is None:
                volume[kind]["voxel_size"] = list(UNKNOWN)
    problems, _ = input_problems(complete(config, load_schema(SCHEMA)))
    if problems:
        raise problems[0]


def summary(target: Path, found: Survey, preset: Path) -> str:
    """Return what was found and chosen, and what to do next."""
    zero, _ = suggest_zero(found.sections)
    validation = suggest_validation(found.sections)
    size = "VOXEL SIZE UNKNOWN" if found.voxel_size is None else f"{flow(list(found.voxel_size))} nm, {found.origin}"
    numbers = [str(section.number) for section in found.sections]
    listed = "sections " + ", ".join(numbers[:12]) + (f" and {len(numbers) - 12} more" if len(numbers) > 12 else "")
    if len(numbers) == found.shape[0]:
        listed = f"all {len(numbers)} sections"
    kept = f"; {validation} is kept for validation" if validation is not None else ""
    rows = [
        ("image", f"{found.raw}: {' x '.join(map(str, found.shape))} voxels, {found.dtype}; {size}"),
        ("painted", f"{found.painted}: {listed}{kept}"),
        ("zero", f"{zero}, by the look of it: CHECK"),
        ("nets", str(preset)),
        *(("CHECK", remark) for remark in found.remarks),
    ]
    lines = [f"{target} is written:", *(f"  {name:<9}{text}" for name, text in rows)]
    if found.voxel_size is None:
        lines.append(f"Fill in `voxel_size` in {target}, or remove it and give --voxel-size Z Y X. Then")
    else:
        lines.append("Read what is marked CHECK in it, then")
    lines += [f"  snakemake {what}--configfile {quote(str(target))}" for what in ("check ", "")]
    return "\n".join(lines) + "\n"
