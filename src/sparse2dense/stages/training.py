"""The three trainings of the workflow: on painted sections, on synthetic labels, on labelled volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparse2dense.errors import InputError
from sparse2dense.ops.augmentation import Augmentation
from sparse2dense.ops.corruption import Degradation
from sparse2dense.stages.net_kinds import KINDS, NetDescription, describe_net, scale_problems
from sparse2dense.stages.nets import check_input
from sparse2dense.stages.samples import LiftSamples, Sample, Samples, SectionSamples, Targets, VolumeSamples
from sparse2dense.stages.slicing import SectionData, read_sections
from sparse2dense.stages.trainer import TrainingOutputs, train
from sparse2dense.stages.training_group import group_of_this_process
from sparse2dense.stages.training_plan import TrainingPlan
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = ["split_sections", "targets_of", "train_lift", "train_sections", "train_volume"]

VALIDATION_SAMPLES = 12
# Part of the only sections, or of a volume's sections, that is kept for validation.
VALIDATION_SHARE = 0.15


def train_sections(
    sections: Mapping[str, Path],
    outputs: TrainingOutputs,
    *,
    settings: Mapping[str, Any],
    validation: Mapping[str, int | None],
    seed: int,
    threads: int,
    weights: Mapping[str, float] | None = None,
) -> None:
    """Train the 2D net on painted sections.

    Parameters
    ----------
    sections
        The folder of 2D sections of every annotated volume, by volume.
    settings
        The block `nets.2d` of the configuration.
    validation
        For every volume the section that is kept for validation; where None for all, the last one, or the lower part
        of each where there are fewer than three.
    weights
        How often samples are drawn from a volume, relative to others with as many objects; 1 where left out.
    """
    _set_threads(threads)
    weights = weights or {}
    data = {
        volume: [replace(section, weight=weights.get(volume, 1)) for section in read_sections(folder)]
        for volume, folder in sections.items()
    }
    _refuse_mixed({volume: parts[0].voxel_size for volume, parts in data.items()})
    training, held_out = split_sections(data, validation)
    description = describe_net(settings, voxel_size=training[0].voxel_size)
    targets = targets_of(description, settings)
    shape = settings["input_shape"]
    augmentation = _augmentation(settings)
    samples = SectionSamples(training, targets, shape, augmentation)
    judge = SectionSamples(held_out, targets, shape, augmentation.none())
    key = {"settings": settings, "validation": validation, "sections": _identities(sections), "weights": weights}
    train(description, samples, _fixed(judge, seed), _plan(settings, seed, threads), outputs, key=key)


def train_lift(
    outputs: TrainingOutputs,
    *,
    settings: Mapping[str, Any],
    section_settings: Mapping[str, Any],
    seed: int,
    threads: int,
    degradation: Degradation | None = None,
) -> None:
    """Train the net that turns stacked 2D predictions into 3D affinities, on synthetic labels only.

    Parameters
    ----------
    settings
        The block `nets.2d_to_3d` of the configuration.
    section_settings
        The block `nets.2d` whose outputs the net reads.
    degradation
        How wrong these are; None for the usual.
    """
    _set_threads(threads)
    description = describe_net(settings, section_settings=section_settings)
    read = {"downsample": section_settings["downsample"], "input_grow_boundary": section_settings["grow_boundary"]}
    synthetic = {name: value for name, value in settings["synthetic"].items() if name != "errors"}
    samples = LiftSamples(description, settings["input_shape"], synthetic, {**settings, **read}, degradation)
    errors = None if degradation is None else asdict(degradation)
    key = {"settings": settings, "section_settings": section_settings, "degradation": errors}
    train(description, samples, _fixed(samples, seed), _plan(settings, seed, threads), outputs, key=key)


def train_volume(
    volumes: Mapping[str, tuple[Path, Path, Path]],
    outputs: TrainingOutputs,
    *,
    settings: Mapping[str, Any],
    seed: int,
    threads: int,
    descriptors: Mapping[str, Path] | None = None,
    weights: Mapping[str, float] | None = None,
) -> None:
    """Train a 3D net with dense labels, pseudo ground truth or truth, on raw data or on descriptors predicted of it.

    Parameters
    ----------
    volumes
        Raw, labels and mask of every volume, by volume; the last sections of each are kept for validation.
    settings
        The block `nets.3d` of the configuration.
    descriptors
        For a net that reads them, what a first net predicts of every volume, by volume.
    weights
        As in `train_sections`.
    """
    _set_threads(threads)
    opened = [(open_volume(raw), open_volume(labels), open_volume(mask)) for raw, labels, mask in volumes.values()]
    for name, (raw, labels, mask) in zip(volumes, opened, strict=True):
        if not raw.spatial_shape == labels.spatial_shape == mask.spatial_shape:
            raise InputError(
                f"volume {name}: raw, labels and mask have shapes {raw.shape}, {labels.shape}, {mask.shape}",
                allowed="one shape",
                remedy="give labels for the whole crop of raw that is imported",
            )
    _refuse_mixed({name: raw.voxel_size for name, (raw, _, _) in zip(volumes, opened, strict=True)})
    description = describe_net(settings, voxel_size=opened[0][0].voxel_size)
    read = _open_descriptors(descriptors or {}, dict(zip(volumes, opened, strict=True)), description)
    targets = targets_of(description, settings)
    ends = [int(raw.shape[0] * (1 - VALIDATION_SHARE)) for raw, _, _ in opened]
    augmentation = _augmentation(settings)
    shape = settings["input_shape"]
    early = [slice(0, end) for end in ends]
    late = [slice(end, raw.shape[0]) for end, (raw, _, _) in zip(ends, opened, strict=True)]
    shares = [(weights or {}).get(name, 1) for name in volumes]
    samples = VolumeSamples(opened, targets, shape, augmentation, early, read, shares)
    judge = VolumeSamples(opened, targets, shape, augmentation.none(), late, read, shares)
    key = {
        "settings": settings,
        "volumes": {name: _identities(dict(enumerate(p))) for name, p in volumes.items()},
        "descriptors": _identities(descriptors or {}),
        "weights": shares,
    }
    train(description, samples, _fixed(judge, seed), _plan(settings, seed, threads), outputs, key=key)


def _refuse_mixed(voxel_sizes: Mapping[str, Sequence[float]]) -> None:
    """Refuse volumes that one net can't learn from."""
    for problem in scale_problems(voxel_sizes):
        raise problem


def _open_descriptors(
    descriptors: Mapping[str, Path], volumes: Mapping[str, tuple[Volume, ...]], description: NetDescription
) -> list[Volume]:
    """The descriptors of every volume that the described net reads, checked; none for a net on raw alone."""
    if "descriptors" not in KINDS[description.kind].inputs:
        return []
    missing = [name for name in volumes if name not in descriptors]
    if missing:
        raise InputError(
            f"a net of kind {description.kind} reads descriptors; none are given of {', '.join(missing)}",
            allowed="predicted descriptors of every volume",
            remedy=f"predict them with a net of kind {KINDS[description.kind].source}",
        )
    opened = {name: open_volume(descriptors[name]) for name in volumes}
    for name, volume in opened.items():
        check_input(volume, "descriptors", description, "the net")
        shape = volumes[name][0].spatial_shape
        if volume.spatial_shape != shape:
            raise InputError(
                f"volume {name}: raw has the shape {shape}, and its descriptors {volume.spatial_shape}",
                allowed="one shape",
                remedy="predict the descriptors of this image",
            )
    return list(opened.values())


def split_sections(
    data: Mapping[str, Sequence[SectionData]], validation: Mapping[str, int | None]
) -> tuple[list[SectionData], list[SectionData]]:
    """Divide annotated sections into those to train on and those to validate on.

    What is kept back is masked out, never merely avoided, so that no loss looks at it.
    """
    everything = [section for sections in data.values() for section in sections]
    chosen = [
        section for volume, sections in data.items() for section in sections if section.section == validation[volume]
    ]
    if not chosen and len(everything) >= 3:
        chosen = [everything[-1]]
    if chosen:
        rest = [section for section in everything if all(section is not other for other in chosen)]
        if rest:
            return rest, chosen
    parts = [(_part(section, lower=False), _part(section, lower=True)) for section in everything]
    return [upper for upper, _ in parts], [lower for _, lower in parts]


def _part(section: SectionData, lower: bool) -> SectionData:
    """The section with its mask and its scope cut to its lower rows, or to the rest: no object ends at the cut."""
    rows = np.flatnonzero(section.mask.any(axis=1))
    cut = int(rows[0] + (1 - VALIDATION_SHARE) * (rows[-1] + 1 - rows[0])) if len(rows) else 0
    mask, scope = section.mask.copy(), section.scope.copy()
    for array in (mask, scope):
        array[slice(0, cut) if lower else slice(cut, None)] = 0
    return replace(section, mask=mask, scope=scope)


def _fixed(samples: Samples, seed: int) -> list[Sample]:
    """The samples that a net is judged by, the same at every validation; no training step draws from this seed."""
    return [samples.draw(np.random.default_rng([seed, 2**31, number])) for number in range(VALIDATION_SAMPLES)]


def targets_of(description: NetDescription, settings: Mapping[str, Any]) -> Targets:
    """Return how labels become what a net should predict, from its block of the configuration."""
    return Targets(
        description.kind,
        description.offsets,
        description.sigma,
        settings["downsample"],
        settings["grow_boundary"],
        settings["rim"],
    )


def _augmentation(settings: Mapping[str, Any]) -> Augmentation:
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in settings["augmentation"].items()}
    return Augmentation(**values)


def _plan(settings: Mapping[str, Any], seed: int, threads: int) -> TrainingPlan:
    names = {field.name for field in fields(TrainingPlan)} & set(settings)
    loaders = max(1, min(8, _own(threads) - 1))
    return TrainingPlan(**{name: settings[name] for name in names}, seed=seed, loaders=loaders)


def _set_threads(threads: int) -> None:
    torch.set_num_threads(_own(threads))


def _own(threads: int) -> int:
    """Of the threads of a job those of this process."""
    return max(1, threads // group_of_this_process().size)


def _identities(paths: Mapping[Any, Path]) -> dict[str, Any]:
    """What tells one version of the inputs from another, without reading them."""
    stamps = {}
    for name, path in paths.items():
        files = sorted(path.rglob("zarr.json"))
        stamps[str(name)] = [[str(file.relative_to(path)), file.stat().st_mtime_ns] for file in files]
    return stamps
