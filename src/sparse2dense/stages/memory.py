"""Blocks, shards, halos and memory of every stage that works in blocks, from the configuration before anything runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import prod
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.descriptors import descriptor_channels
from sparse2dense.ops.disagreement import affinity_halo, descriptor_halo
from sparse2dense.ops.nearest import reach_in_voxels
from sparse2dense.ops.regions import LAGS, TEXTURES
from sparse2dense.ops.views import ORIENTATIONS
from sparse2dense.stages.consistency import used_nets
from sparse2dense.stages.gpus import visible_gpus
from sparse2dense.stages.machine import machine_megabytes, memory_limit
from sparse2dense.stages.net_kinds import KINDS, NetDescription, describe_net
from sparse2dense.stages.orienting import block_unit
from sparse2dense.stages.viewing import view_margin, views_of
from sparse2dense.volumes.blockwise import OVERLAPPED
from sparse2dense.volumes.grid import chunk_shape, common_multiple, shard_shape, snap_up, tiling

__all__ = [
    "SHARED",
    "Allowance",
    "BlockPlan",
    "block_plans",
    "fragment_bytes",
    "memory_problems",
    "prediction_bytes",
    "this_machine",
]

Config = Mapping[str, Any]
Found = Mapping[str, Mapping[str, Any]]
Shape = tuple[int, ...]

PROCESS, TORCH, CUDA = 350_000_000, 700_000_000, 3_000_000_000
"""Bytes of a process before its first block: with the libraries of blocks, with PyTorch, and with a GPU besides."""
OVERLAP_BYTES, SEGMENTATION_BYTES, FILTER_BYTES = 70, 55, 75
"""Per voxel that a block reads; measured: 57 for overlaps, 44 for a segmentation, 62 for pseudo ground truth."""
DISAGREEMENT_BYTES = 80
"""Per voxel that a block reads; measured: 70 where errors are added up, 67 while ten descriptors are compared."""
COPIES = 1.5
"""Convolutions keep copies in an order of their own: a pass held 1.1 times (2D) to 1.45 times (3D) what it counts."""
SHARED = {
    "predict_2d", "predict_2d_to_3d", "predict_3d_lsd", "predict_3d", "make_fragments", "make_graph", "count_links",
    "count_overlaps", "measure_disagreement", "rank_errors", "write_segmentation", "measure_regions",
}  # fmt: skip
"""Rules whose blocks several jobs may share; those jobs are of a rule of their own."""


@dataclass(frozen=True)
class Allowance:
    """What a job of a rule gets.

    Parameters
    ----------
    threads
        CPUs, which are processes for all stages but prediction.
    megabytes
        Memory, 10^6 bytes.
    gpu
        Whether it has a GPU.
    origin
        Where the memory comes from, in words.
    remedy
        How to get more.
    """

    threads: int
    megabytes: float
    gpu: bool
    origin: str
    remedy: str


def this_machine(threads: int) -> Allowance:
    """Return what a job with so many CPUs gets where it runs on this machine."""
    origin, remedy = "the memory of this machine", "a machine with more memory"
    if memory_limit() is not None:
        origin, remedy = f"{origin}, or as much of it as may be used here", "more of it: a larger job or container"
    return Allowance(threads, machine_megabytes(), bool(visible_gpus()), origin, remedy)


@dataclass(frozen=True)
class BlockPlan:
    """How a stage cuts a volume, and what it holds of it at a time.

    Parameters
    ----------
    volume, rule
        What is cut, and by which rule.
    key
        Of the configuration, that the block comes from.
    block, shard, halo
        Voxels (z, y, x): what is written at a time, what of it is one file (None where chunks are, or no volume is
        written), and what is read around it on both sides.
    block_bytes
        Held in the machine's memory at the peak of a block.
    net_bytes
        Held besides by a net, on the GPU where there is one.
    across
        The axis that the sections of a 2D net lie across.
    """

    volume: str
    rule: str
    key: str
    block: Shape
    shard: Shape | None
    halo: Shape
    block_bytes: int
    net_bytes: int = 0
    across: str = "z"

    def megabytes(self, threads: int, gpu: bool) -> float:
        """Memory of a job with so many CPUs, and of its processes; MB."""
        if self.net_bytes:
            return (self.block_bytes + (CUDA if gpu else TORCH + self.net_bytes)) / 1e6
        processes = 1 if threads == 1 else threads + 1
        return (processes * PROCESS + threads * self.block_bytes) / 1e6


def fragment_bytes(segment: Config, channels: int) -> int:
    """Return the bytes per voxel that fragments need of a block with its context.

    Measured on FIB-SEM: 29 by watershed, 47 by section; by mutex 90 with six channels that count, 113 with nine. On
    noise, which has many more fragments, the watershed took 63.
    """
    return 80 + 9 * channels if segment["fragments"]["method"] == "mutex" else 65


def prediction_bytes(
    architecture: Architecture,
    block: Sequence[int],
    adjacent: int = 0,
    margin: Sequence[int] | None = None,
    members: int = 1,
) -> tuple[int, int]:
    """Return the bytes that predicting blocks holds: input and output, and those of the net itself.

    The block is (z, y, x); a net of two axes sees one section at a time, with `adjacent` ones on either side. Where the
    mean of several predictions is kept, `margin` is what the block grows by for them (`viewing.view_margin`), and
    `members` the number of nets, of which one works at a time. Otherwise one block is computed while another is read or
    written.
    """
    plane = architecture.ndim == 2
    grown = [side + more for side, more in zip(block, margin or (0, 0, 0), strict=True)]
    output = tuple(grown[1:] if plane else grown)
    channels = architecture.heads.values()
    # float32: the input as read, for a net of three axes once more as the net takes it
    stack = grown[0] + 2 * adjacent if plane else 2 * architecture.in_channels
    given = 4 * stack * prod(architecture.input_shape(output))
    own = 4 * (int(COPIES * architecture.pass_values(output)) + members * architecture.weights)
    if margin is not None:
        # float32: what a net says, the sum, and the mean, besides the number of terms in two bytes; then the largest
        # head times 255, rounded, and as bytes
        return given + 4 * prod(grown) * sum(channels) + prod(block) * (10 * sum(channels) + 9 * max(channels)), own
    # a head of a pass as float32 and as bytes, and the bytes of a block, which those that are written take three times
    return OVERLAPPED * given + 5 * prod(output) * max(channels) + (OVERLAPPED + 2) * prod(block) * sum(channels), own


def block_plans(found: Found, config: Config) -> list[BlockPlan]:
    """Return how every stage cuts each volume of which shape and voxel size are known.

    Parameters
    ----------
    found
        Shape and voxel size (nm) of volumes by name.
    config
        A configuration with its defaults.
    """
    return [plan for name, facts in found.items() for plan in _volume_plans(name, facts, config)]


def _volume_plans(name: str, facts: Mapping[str, Any], config: Config) -> Iterator[BlockPlan]:
    """Yield the plans of one volume in the order of the stages."""
    volume, tracks = config["volumes"][name], config["evaluate"]["tracks"]
    yield from _predictions(name, facts, config)
    own = {"pseudo"} if volume["role"] == "unlabelled" and config["rounds"] == 1 else set(tracks)
    for rule, halo, size, writes in _segmentations(facts, config, own):
        needed = {
            "make_pseudo_truth": volume["role"] != "test" and "bootstrapped" in tracks,
            "count_overlaps": volume["role"] != "unlabelled",
            "rank_errors": volume["role"] == "test",
            "measure_regions": config["paint_next"]["count"] > 0
            and (volume["role"] == "unlabelled" or (volume["role"] == "annotated" and "pseudo" in tracks)),
        }
        if needed.get(rule, True):
            yield _segmentation_plan(name, facts, config, rule, halo, size, writes)


def _predictions(name: str, facts: Mapping[str, Any], config: Config) -> Iterator[BlockPlan]:
    """Yield how nets predict a volume: the 2D net once for every axis across which sections are wanted."""
    nets = used_nets(config)
    wanted = [axis for axis in ORIENTATIONS if axis in config["predict"]["orientations"]]
    for net, settings in nets.items():
        described = describe_net(settings, section_settings=nets["2d"] if net == "2d_to_3d" else None)
        for axes in {"2d": [[axis] for axis in wanted], "2d_to_3d": [wanted]}.get(net, [["z"]]):
            yield _prediction_plan(name, facts, config, net, described, axes)


def _prediction_plan(
    name: str, facts: Mapping[str, Any], config: Config, net: str, described: NetDescription, axes: Sequence[str]
) -> BlockPlan:
    """Return how a net predicts a volume cut into sections across some axes, one after the other."""
    shape, settings = tuple(facts["shape"]), config["predict"]
    architecture, members = described.architecture, used_nets(config)[net]["members"]
    orientations = [ORIENTATIONS[axis] for axis in axes]
    chunks = chunk_shape(shape, facts["voxel_size"])
    tile = snap_up(settings["block"], common_multiple(chunks, block_unit(architecture.stride, orientations)))
    written = tuple(min(step, side) for step, side in zip(tile, shape, strict=True))
    views = views_of(described, settings["flips"], settings["transpose"])
    margin = view_margin(described, views)
    context = ((described.adjacent,) if architecture.ndim == 2 else ()) + architecture.context
    around = tuple(map(sum, zip(context, margin, strict=True)))
    halo = tuple(map(max, zip(*(turned.step(around) for turned in orientations), strict=True)))
    shard = shard_shape((max(architecture.heads.values()), *shape), tile, chunks)
    averaged = margin if len(views) * members > 1 else None
    needed = [
        prediction_bytes(architecture, turned.seen(written), described.adjacent, averaged, members)
        for turned in orientations
    ]
    host, own = (max(sizes) for sizes in zip(*needed, strict=True))
    if len(axes) > 1:
        host += 4 * prod(written) * sum(architecture.heads.values())  # the sum over stacks
    rule = _rule(f"predict_{net}", name, config)
    return BlockPlan(name, rule, "predict.block", tile, shard, halo, host, own, axes[0])


def _segmentations(
    facts: Mapping[str, Any], config: Config, tracks: Set[str]
) -> Iterator[tuple[str, Shape, int, bool]]:
    """Yield rule, halo, bytes per voxel read, and whether a volume is written, of the stages from fragments on."""
    segment, none = config["segment"], (0, 0, 0)
    offsets = [offset for net in ("2d_to_3d", "3d") for offset in config["nets"][net]["offsets"]]
    channels = max(len(config["nets"][net]["offsets"]) for net in ("2d_to_3d", "3d"))
    sections = segment["fragments"]["per_section"]
    context = (0 if sections else segment["context"][0], *segment["context"][1:])
    far = segment["method"] == "mutex"
    reach = tuple(max(abs(offset[axis]) for offset in offsets) for axis in range(3))
    around = tuple(
        max(pair)
        for pair in zip(
            config["evaluate"]["border"],
            reach_in_voxels(config["evaluate"]["reach"], facts["voxel_size"]),
            strict=True,
        )
    )
    yield "make_fragments", context, fragment_bytes(segment, channels), True
    # measured: 18 with three channels, 25 with their histograms, 30 with nine channels
    yield "make_graph", reach if far else (1, 1, 1), 30 + (channels if far else 3), False
    # measured: 22 with nine channels, four of them far ones
    yield "count_links", reach, 30 + channels, False
    yield "count_overlaps", around, OVERLAP_BYTES, False
    yield "rank_errors", around, OVERLAP_BYTES, False  # and, where it is asked for, write_errors
    # of affinities, those that were predicted and those of the segmentation are there at once, a byte each
    compared = max(DISAGREEMENT_BYTES, 45 + 2 * channels)
    yield "measure_disagreement", _compared_halo(used_nets(config), tracks), compared, False
    yield "write_segmentation", none, SEGMENTATION_BYTES, True
    yield "make_pseudo_truth", none, FILTER_BYTES, True
    # sections behind, to compare with, and voxels around, for affinities of the 2D net and for textures
    plane = [max(abs(offset[axis]) for offset in config["nets"]["2d"]["offsets"]) for axis in range(2)]
    beside = (max(LAGS), *(max(max(TEXTURES), step) for step in plane))
    # measured: 45 with six channels
    yield "measure_regions", beside, 40 + 2 * len(config["nets"]["2d"]["offsets"]), False


def _compared_halo(nets: Config, tracks: Set[str]) -> Shape:
    """Return how far the disagreement with all that is predicted on the way of some tracks sees around a block."""
    halos = []
    for names, used in ((("2d", "2d_to_3d"), "pseudo" in tracks), (("3d", "3d_lsd"), tracks - {"pseudo"})):
        for name in [name for name in names if name in nets] if used else ():
            settings, step = nets[name], nets[names[0]]["downsample"]
            kind = KINDS[settings["kind"]]
            flat = (0,) * (3 - kind.ndim)
            if "affinities" in kind.heads:
                halos.append(snap_up(affinity_halo([(*flat, *offset) for offset in settings["offsets"]]), (step,) * 3))
            if "descriptors" in kind.heads:
                channels = len(descriptor_channels(kind.ndim))
                halos.append(snap_up(descriptor_halo(settings["sigma"], channels, step), (step,) * 3))
    return tuple(map(max, zip(*halos, strict=True)))


def _segmentation_plan(
    name: str, facts: Mapping[str, Any], config: Config, rule: str, halo: Shape, size: int, writes: bool
) -> BlockPlan:
    """Return the plan of a stage that cuts a volume by `segment.block`."""
    shape, block = tuple(facts["shape"]), tuple(config["segment"]["block"])
    shard = None
    if writes:
        tile, chunks = tiling(shape, block, chunk_shape(shape, facts["voxel_size"]))
        block = tile if rule == "make_fragments" else snap_up(block, chunks)
        shard = shard_shape(shape, block, chunks)
    read = prod(min(side, step + 2 * more) for side, step, more in zip(shape, block, halo, strict=True))
    return BlockPlan(name, _rule(rule, name, config), "segment.block", block, shard, halo, read * size)


def _rule(rule: str, volume: str, config: Config) -> str:
    """Return the rule whose jobs compute the blocks of a volume."""
    return f"{rule}_part" if rule in SHARED and config["volumes"][volume]["jobs"] > 1 else rule


def memory_problems(found: Found, config: Config, allowance: Callable[[str], Allowance | None]) -> Iterator[InputError]:
    """Yield a problem for every rule one of whose jobs would need more memory than it gets.

    Parameters
    ----------
    found, config
        As in `block_plans`.
    allowance
        What a job of a rule gets, by the name of the rule; None where that isn't known.
    """
    plans = block_plans(found, config)
    for rule in dict.fromkeys(plan.rule for plan in plans):
        given = allowance(rule)
        if given is None:
            continue
        needed, worst = _most(plans, rule, given)
        if needed > given.megabytes:
            jobs = f"{given.threads} processes" if given.threads > 1 and not worst.net_bytes else "one process"
            section, name = worst.key.split(".")
            smaller = _fitting(found, config, worst, given)
            remedy = f"use `{worst.key}: {list(smaller)}`" if smaller else "use smaller nets, or less context and reach"
            yield InputError(
                f"`{worst.key}` is {config[section][name]} for {rule} of volume {worst.volume}: {jobs} with a halo of "
                f"{list(worst.halo)} voxels need about {_gigabytes(needed)} GB",
                allowed=f"{_gigabytes(given.megabytes)} GB, {given.origin}",
                remedy=f"{remedy}, or {given.remedy}",
            )


def _gigabytes(megabytes: float) -> str:
    return f"{megabytes / 1e3:.1f}"


def _most(plans: Sequence[BlockPlan], rule: str, given: Allowance) -> tuple[float, BlockPlan]:
    """Return the MB and the plan of that volume which needs most of a rule."""
    own = [plan for plan in plans if plan.rule == rule]
    worst = max(own, key=lambda plan: plan.megabytes(given.threads, given.gpu))
    return worst.megabytes(given.threads, given.gpu), worst


def _fitting(found: Found, config: Config, worst: BlockPlan, given: Allowance) -> Shape | None:
    """Return the first block that fits when the longest side is halved again and again; None where none does."""
    section, block = worst.key.split(".")[0], list(worst.block)
    while max(block) > 1:
        longest = max(range(3), key=block.__getitem__)
        block[longest] = -(-block[longest] // 2)
        changed = {**config, section: {**config[section], "block": block}}
        if _most(block_plans(found, changed), worst.rule, given)[0] <= given.megabytes:
            return tuple(block)
    return None
