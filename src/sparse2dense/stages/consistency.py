"""What the schema can't see: keys of the configuration that contradict each other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.ops.thresholds import threshold_name, thresholds
from sparse2dense.stages.net_kinds import KINDS, scale_problems
from sparse2dense.stages.training_plan import plan_problems
from sparse2dense.stages.viewing import view_problems
from sparse2dense.stages.volume_consistency import has_truth, volume_problems

__all__ = [
    "LIFT_INPUTS", "PREDICTED", "inconsistencies", "is_reused", "member_names",
    "threshold_names", "used_nets", "voxel_size_problems",
]  # fmt: skip

Config = Mapping[str, Any]
# What nets predict, and what those on stacked 2D predictions read, by kind. The head that names a job stands first.
PREDICTED = {name: tuple(sorted(kind.heads)) for name, kind in KINDS.items()}
LIFT_INPUTS = {name: tuple(sorted(kind.inputs)) for name, kind in KINDS.items() if kind.source == "2d"}


def inconsistencies(config: Config) -> list[InputError]:
    """Return every contradiction between keys of a configuration that has its defaults and fits its schema."""
    checks: tuple[Callable[[Config], Iterator[InputError]], ...] = (
        volume_problems, run_problems, round_problems, threshold_problems, choice_problems, context_problems,
        mutex_problems, net_problems, view_problems,
    )  # fmt: skip
    return [problem for check in checks for problem in check(config)]


def is_reused(net: Config) -> bool:
    """Return whether a block of `nets` names a trained net, so that none is trained."""
    return net["checkpoint"]["path"] is not None or net["checkpoint"]["url"] is not None


def member_names(name: str, net: Config) -> list[str]:
    """Return the names of all nets that a block of `nets` asks for: `name` itself, `<name>_member_2` ..."""
    return [name, *(f"{name}_member_{number}" for number in range(2, net["members"] + 1))]


def used_nets(config: Config) -> dict[str, Config]:
    """Return the nets of a run with their settings, by name; `3d_lsd` is the first of two that `nets.3d` describes."""
    nets = dict(config["nets"])
    last = nets.pop("3d")
    if set(config["evaluate"]["tracks"]) == {"pseudo"}:
        return nets
    if KINDS[last["kind"]].source is not None:
        nets["3d_lsd"] = {**last, "kind": "3d_lsd"}
    return {**nets, "3d": last}


def threshold_names(setting: Any) -> list[str]:
    """Return the thresholds of `segment.thresholds` as exact decimals, as they stand in file names."""
    if isinstance(setting, Mapping):
        return thresholds(setting["start"], setting["stop"], setting["step"])
    return [threshold_name(value) for value in setting]


def predicted_2d(config: Config) -> tuple[str, ...]:
    """Return what the 2D net predicts."""
    return PREDICTED[config["nets"]["2d"]["kind"]]


def run_problems(config: Config) -> Iterator[InputError]:
    """Check the volumes against each other and against what is to be made of them."""
    volumes = config["volumes"]
    annotated = {name: volume for name, volume in volumes.items() if volume["role"] == "annotated"}
    if not annotated:
        yield InputError(
            "`volumes` has no volume with the role annotated",
            allowed="at least one",
            remedy="set `role: annotated` on the volume with painted sections",
        )
    elif (
        "baseline" in config["evaluate"]["tracks"]
        and not is_reused(config["nets"]["3d"])
        and not any(map(has_truth, annotated.values()))
    ):
        yield InputError(
            "`evaluate.tracks` has baseline, but no annotated volume has dense `truth`",
            allowed="pseudo, bootstrapped",
            remedy="remove baseline, or add `truth` to an annotated volume",
        )
    sections = [volume.get("annotation", {}).get("sections") for volume in annotated.values()]
    if all(sections) and not is_reused(config["nets"]["2d"]):
        held_out = sum(volume["annotation"]["validation"] is not None for volume in annotated.values())
        if sum(map(len, sections)) <= held_out:
            yield InputError(
                "no annotated section is left to train on beside `annotation.validation`",
                allowed="at least one more section",
                remedy="add a section, or remove `validation`",
            )
    generated: dict[str, str] = {}
    for name, volume in volumes.items():
        if "phantom" in volume:
            other = generated.setdefault(str(sorted(volume["phantom"].items())), name)
            if other != name:
                yield InputError(
                    f"`volumes.{name}.phantom` and `volumes.{other}.phantom` are the same volume",
                    allowed="generated volumes that differ",
                    remedy="give each its own `seed`",
                )


def round_problems(config: Config) -> Iterator[InputError]:
    """Check that there is a net for later rounds to train, and a track for them to begin from."""
    if config["rounds"] == 1:
        return
    if "bootstrapped" not in config["evaluate"]["tracks"]:
        yield InputError(
            f"`rounds` is {config['rounds']}, but `evaluate.tracks` has no bootstrapped",
            allowed="bootstrapped among the tracks, or 1 round",
            remedy="add bootstrapped, or remove `rounds`",
        )
    elif is_reused(config["nets"]["3d"]):
        yield InputError(
            f"`rounds` is {config['rounds']}, but `nets.3d.checkpoint` gives a net that no round trains",
            allowed="a 3D net that is trained, or 1 round",
            remedy="remove `rounds`, or `nets.3d.checkpoint`",
        )


def voxel_size_problems(config: Config, voxel_sizes: Mapping[str, Sequence[float]]) -> list[InputError]:
    """Check, once files are known, that every volume fits the first one that nets learn from, as far as one learns.

    `voxel_sizes` are those of the images, nm (z, y, x), by volume.
    """
    nets = used_nets(config)
    learning = any(not is_reused(net) for name, net in nets.items() if name != "2d_to_3d")
    annotated = [name for name in voxel_sizes if config["volumes"][name]["role"] == "annotated"]
    if not learning or not annotated:
        return []
    return scale_problems({annotated[0]: voxel_sizes[annotated[0]], **voxel_sizes})


def threshold_problems(config: Config) -> Iterator[InputError]:
    """Check that the thresholds ascend."""
    setting = config["segment"]["thresholds"]
    if isinstance(setting, Mapping):
        ascending = setting["start"] <= setting["stop"]
    else:
        ascending = all(first < second for first, second in pairwise(setting))
    if not ascending:
        yield InputError(
            f"`segment.thresholds` is {setting}",
            allowed="ascending numbers without repetition",
            remedy="sort the list, or let `start` be at most `stop`",
        )


def choice_problems(config: Config) -> Iterator[InputError]:
    """Check that a threshold chosen without truth has judges: affinities that no tree was made by."""
    if config["evaluate"]["choose_by"] != "disagreement":
        return
    tracks = config["evaluate"]["tracks"]
    for name in ["2d_to_3d"] * ("pseudo" in tracks) + ["3d"] * bool(set(tracks) - {"pseudo"}):
        if all(sum(map(abs, offset)) == 1 for offset in config["nets"][name]["offsets"]):
            yield InputError(
                f"`evaluate.choose_by` is disagreement, but `nets.{name}.offsets` are direct neighbours only",
                allowed="affinities that reach farther too: those of direct neighbours agree with what is made of them",
                remedy=f"add offsets to `nets.{name}.offsets`, or set `evaluate.choose_by` to annotation",
            )


def context_problems(config: Config) -> Iterator[InputError]:
    """Check that blocks of fragments are larger than their context."""
    segment = config["segment"]
    block, context = segment["block"], segment["context"]
    unused = int(segment["fragments"]["per_section"])  # sections have no context along z
    if any(margin >= side for margin, side in zip(context[unused:], block[unused:], strict=True)):
        yield InputError(
            f"`segment.context` is {context}, and `segment.block` {block}",
            allowed="a context smaller than the block along every axis",
            remedy="enlarge the block, or reduce the context",
        )


def mutex_problems(config: Config) -> Iterator[InputError]:
    """Check that what stands for each offset is given for each."""
    for key in ("biases", "strides"):
        given = config["segment"]["fragments"]["mutex"][key]
        for name in {"2d_to_3d", "3d"} & set(used_nets(config)) if given is not None else ():
            offsets = config["nets"][name]["offsets"]
            if len(given) != len(offsets):
                yield InputError(
                    f"`segment.fragments.mutex.{key}` has {len(given)} entries for {len(offsets)} of "
                    f"`nets.{name}.offsets`",
                    allowed="one for each offset, in their order, of every net whose affinities are segmented",
                    remedy="add or remove entries, or leave the key out",
                )


def net_problems(config: Config) -> Iterator[InputError]:
    """Check the shapes of the nets and how they are trained, and that each finds its input."""
    if is_reused(config["nets"]["3d"]) and {"bootstrapped", "baseline"} <= set(config["evaluate"]["tracks"]):
        yield InputError(
            "`evaluate.tracks` has bootstrapped and baseline, but `nets.3d.checkpoint` gives one net for both",
            allowed="one of them",
            remedy="remove a track, or `nets.3d.checkpoint`",
        )
    source = KINDS[config["nets"]["3d"]["kind"]].source
    if is_reused(config["nets"]["3d"]) and source is not None:
        yield InputError(
            f"`nets.3d.checkpoint` is given, but a net of `nets.3d.kind` {config['nets']['3d']['kind']} reads what one "
            f"of kind {source} predicts",
            allowed="a trained net that reads the image alone",
            remedy="remove `checkpoint`, so that both nets are trained, or use a net of another kind",
        )
    for name, net in config["nets"].items():
        path = f"nets.{name}"
        if len(net["kernels"]) != len(net["pooling"]) + 1:
            yield InputError(
                f"`{path}.kernels` has {len(net['kernels'])} entries for {len(net['pooling'])} of `{path}.pooling`",
                allowed="one for each level: one more than there are poolings",
                remedy="add or remove entries",
            )
        if any(size % 2 == 0 for kernel in net["kernels"] for size in kernel):
            yield InputError(
                f"`{path}.kernels` is {net['kernels']}",
                allowed="odd sizes",
                remedy="use 1, 3 or 5",
            )
        yield from offset_problems(path, net)
        yield from checkpoint_problems(path, net["checkpoint"])
        if is_reused(net) and net["members"] > 1:
            yield InputError(
                f"`{path}.members` is {net['members']}, but `{path}.checkpoint` gives one net",
                allowed="1 for a net that is not trained here",
                remedy="remove one of the two",
            )
        if not is_reused(net):
            if net["batch"] % net["devices"]:
                yield InputError(
                    f"`{path}.batch` is {net['batch']}, but `{path}.devices` lets {net['devices']} GPUs share it",
                    allowed=f"a multiple of {net['devices']}",
                    remedy="change one of the two",
                )
            yield from sample_problems(path, net)
            yield from plan_problems(net, f"{path}.")
    kind, lift = config["nets"]["2d"]["kind"], config["nets"]["2d_to_3d"]["kind"]
    if not set(LIFT_INPUTS[lift]) <= set(predicted_2d(config)):
        yield InputError(
            f"`nets.2d_to_3d.kind` is {lift}, but `nets.2d.kind` {kind} predicts {' and '.join(predicted_2d(config))}",
            allowed=" or ".join(name for name, reads in LIFT_INPUTS.items() if set(reads) <= set(predicted_2d(config))),
            remedy="change one of the two",
        )


def checkpoint_problems(path: str, checkpoint: Config) -> Iterator[InputError]:
    """Check that a trained net comes from somewhere, and that what the network brings can be told from other files."""
    if checkpoint["path"] is not None:
        return
    if checkpoint["url"] is not None and checkpoint["sha256"] is None:
        yield InputError(
            f"`{path}.checkpoint.url` is given without `sha256`",
            allowed="the checksum of the file beside its address",
            remedy="add `sha256`, which `sha256sum checkpoint.pt` prints",
        )
    if checkpoint["url"] is None and checkpoint["sha256"] is not None:
        yield InputError(
            f"`{path}.checkpoint.sha256` is given without `path` or `url`",
            allowed="the checksum of a file",
            remedy="say where the file is, or remove `sha256`",
        )


def sample_problems(path: str, net: Config) -> Iterator[InputError]:
    """Check that a training sample can be pooled as often as the net does."""
    for axis, size in enumerate(net["input_shape"]):
        stride = prod(factors[axis] for factors in net["pooling"])
        if size % stride:
            yield InputError(
                f"`{path}.input_shape` is {net['input_shape']}, pooled {stride} times along axis {axis}",
                allowed=f"multiples of {stride} there",
                remedy=f"use {max(1, size // stride) * stride} or {(size // stride + 1) * stride}",
            )


def offset_problems(path: str, net: Config) -> Iterator[InputError]:
    """Check that affinities link to earlier voxels, direct neighbours first, within a sample."""
    offsets, shape = net["offsets"], net["input_shape"]
    axes = len(shape)
    direct = [[-int(axis == other) for other in range(axes)] for axis in range(axes)]
    if offsets[:axes] != direct:
        yield InputError(
            f"`{path}.offsets` begins with {offsets[:axes]}",
            allowed=f"{direct} first: segmentation needs the direct neighbours",
            remedy="put them first",
        )
    for offset in offsets:
        if any(step > 0 for step in offset) or not any(offset):
            yield InputError(
                f"`{path}.offsets` holds {offset}",
                allowed="steps of 0 or less, at least one below 0",
                remedy="turn its signs",
            )
        if not is_reused(net) and any(-step >= size for step, size in zip(offset, shape, strict=True)):
            yield InputError(
                f"`{path}.offsets` holds {offset}, and `{path}.input_shape` is {shape}",
                allowed="steps shorter than the sample",
                remedy="shorten the step or enlarge the sample",
            )
