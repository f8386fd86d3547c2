"""What the stages of a run cost: jobs, files, bytes on disk at most, and work, from the configuration alone.

Counted are the rules that make volumes, nets or merge trees. All others are done in seconds, or make tables whose size
follows from the data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from sparse2dense.stages.annotating import tile_shape
from sparse2dense.stages.checking import annotated_kind
from sparse2dense.stages.consistency import is_reused, used_nets
from sparse2dense.stages.importing import SLAB_BYTES, slab_shape
from sparse2dense.stages.memory import SHARED, BlockPlan, block_plans
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.rounds import bootstrapped_tracks, run_tracks
from sparse2dense.stages.slicing import TILE
from sparse2dense.volumes.grid import chunk_shape, shard_shape, tiling
from sparse2dense.volumes.storage import Stored, stored_size

__all__ = ["STAGES", "Cost", "run_costs"]

Config = Mapping[str, Any]
STAGES = (
    "make_phantom", "import_raw", "import_labels", "mask_tissue", "annotate", "slice_sections", "train_2d",
    "train_2d_to_3d", "train_3d_bootstrapped", "train_3d_baseline", "predict_2d", "predict_2d_to_3d",
    "predict_3d_lsd", "predict_3d", "make_fragments", "make_graph", "make_merge_tree", "count_links", "count_overlaps",
    "write_segmentation", "make_pseudo_truth", "measure_regions", "rank_errors", "measure_disagreement",
)  # fmt: skip
"""Rules in the order in which they begin, without `_part`."""
MAKES_VOLUMES = {
    "make_phantom", "import_raw", "import_labels", "mask_tissue", "annotate", "slice_sections", "predict_2d",
    "predict_2d_to_3d", "predict_3d_lsd", "predict_3d", "make_fragments", "write_segmentation", "make_pseudo_truth",
}  # fmt: skip
SPREAD_JOBS = {*SHARED, "import_raw"}
"""Rules whose blocks several jobs may share; one more job then gives the result its name."""


@dataclass(frozen=True)
class Cost:
    """What a stage costs in a whole run, for one volume or one kind of net.

    Parameters
    ----------
    stage
        Its rule, without `_part`.
    subject
        The volume, or the net as a key of `nets` (`3d_lsd` for the first of two).
    jobs
        Number of jobs.
    stored
        On disk at most; None where it follows from the data.
    work
        Voxels to go through, or steps to train, of all jobs together.
    most_seconds
        What the configuration limits the time to; None for no limit.
    """

    stage: str
    subject: str
    jobs: int
    stored: Stored | None
    work: int
    most_seconds: float | None = None


def run_costs(found: Mapping[str, Config], config: Config) -> list[Cost]:
    """Return what every stage of a whole run costs, volume by volume and net by net, in the order of `STAGES`.

    Parameters
    ----------
    found
        What headers say of volumes, by name: see `checking.input_problems`. A volume that is missing isn't counted.
    config
        A configuration with its defaults.
    """
    costs = list(_net_costs(config))
    for name, facts in found.items():
        plans = {plan.rule.removesuffix("_part"): plan for plan in block_plans({name: facts}, config)}
        outputs = _outputs(name, config)
        for stage in (stage for stage in STAGES if stage in outputs):
            count = outputs[stage]
            jobs = config["volumes"][name]["jobs"] if stage in SPREAD_JOBS else 1
            stored = _stored(stage, name, facts, config, plans.get(stage)) if stage in MAKES_VOLUMES else None
            total = stored * count if stored is not None and stage != "import_labels" else stored
            work = count * prod(facts["shape"])
            costs.append(Cost(stage, name, count * (jobs + 1 if jobs > 1 else 1), total, work))
    return sorted(costs, key=lambda cost: STAGES.index(cost.stage))


def _net_costs(config: Config) -> Iterator[Cost]:
    """Yield what training costs; nets that are reused cost nothing."""
    tracks = run_tracks(config["evaluate"]["tracks"], config["rounds"])
    for name, net in used_nets(config).items():
        if is_reused(net):
            continue
        stages = {f"train_{name}": 1}
        if not name.startswith("2d"):
            rounds = sum(track.startswith("bootstrapped") for track in tracks)
            stages = {"train_3d_bootstrapped": rounds, "train_3d_baseline": int("baseline" in tracks)}
        limit = None if net["minutes"] is None else 60.0 * net["minutes"]
        for stage, count in stages.items():
            jobs = count * net["members"]
            if jobs:
                yield Cost(stage, name, jobs, None, jobs * net["iterations"], None if limit is None else jobs * limit)


def _outputs(name: str, config: Config) -> dict[str, int]:
    """Return how many results of every stage a whole run makes of a volume: mostly one for each of its tracks."""
    volume, nets = config["volumes"][name], config["nets"]
    role, tracks = volume["role"], run_tracks(config["evaluate"]["tracks"], config["rounds"])
    rounds = bootstrapped_tracks(config["rounds"])
    learnt_from = ["pseudo", *rounds[:-1]]
    trains = not is_reused(nets["3d"])
    followed = learnt_from if role == "unlabelled" else tracks
    taught = learnt_from if trains and "bootstrapped" in tracks and role != "test" else []
    # a threshold is chosen for what is shown or learnt from, by scores on all annotated volumes
    bare = any(other["role"] == "unlabelled" for other in config["volumes"].values())
    given = ["pseudo"] if config["pseudo_truth"]["threshold"] != "chosen" else []
    chosen = [*tracks, *(learnt_from if bare else []), *(track for track in taught if track not in given)]
    scored = {"annotated": set(chosen), "test": set(tracks), "unlabelled": set()}[role]
    segmented = {*followed, *taught, *scored}
    by_3d_nets = segmented - {"pseudo"}
    dense = role == "annotated" and ("truth" in volume or "phantom" in volume)
    learns = [*(rounds if taught else []), *(["baseline"] if dense and trains and "baseline" in tracks else [])]
    asked = config["paint_next"]["count"] > 0 and role != "test" and "pseudo" in followed
    counts = {
        "make_phantom": int("phantom" in volume),
        "import_raw": 1,
        "import_labels": len(_imported_labels(name, config)),
        "mask_tissue": int(config["segment"]["fragments"]["only_tissue"]),
        "annotate": int(role == "annotated"),
        "slice_sections": int(role == "annotated"),
        "predict_2d": int("pseudo" in segmented) * len(config["predict"]["orientations"]),
        "predict_2d_to_3d": int("pseudo" in segmented),
        "predict_3d_lsd": len({*by_3d_nets, *learns}) if "3d_lsd" in used_nets(config) else 0,
        "predict_3d": len(by_3d_nets),
        "make_fragments": len(segmented),
        "make_graph": len(segmented),
        "make_merge_tree": 0 if config["segment"]["method"] == "mutex" else len(segmented),
        "count_links": len(followed),
        "count_overlaps": len(scored),
        "write_segmentation": len(followed) + len(taught),
        "make_pseudo_truth": len(taught),
        "measure_regions": int(asked),
        "rank_errors": len(tracks) if role == "test" else 0,
    }
    return {stage: count for stage, count in counts.items() if count}


def _imported_labels(name: str, config: Config) -> list[str]:
    """Return the kinds of labels that a run imports of a volume."""
    volume, tracks = config["volumes"][name], config["evaluate"]["tracks"]
    if volume["role"] == "test":
        return ["truth"]
    if volume["role"] == "unlabelled":
        return []
    kinds = {annotated_kind(volume), *({"painted_mask"} & set(volume))}
    if "baseline" in tracks and not is_reused(config["nets"]["3d"]) and {"truth", "phantom"} & set(volume):
        kinds.add("truth")
    return sorted(kinds)


def _stored(stage: str, name: str, facts: Config, config: Config, plan: BlockPlan | None) -> Stored | None:
    """Return what one result of a stage takes on disk, of `import_labels` all of them; None where it isn't known."""
    shape, nm = tuple(facts["shape"]), facts["voxel_size"]
    chunks = chunk_shape(shape, nm)
    if plan is not None and stage.startswith("predict_"):
        nets = used_nets(config)
        net = stage.removeprefix("predict_")
        heads = describe_net(nets[net], section_settings=nets["2d"] if net == "2d_to_3d" else None).architecture.heads
        arrays = [(count, *shape) for count in heads.values()]
        return _sum(stored_size(one, 1, chunks, shard_shape(one, plan.block, chunks)) for one in arrays)
    if plan is not None:
        own = tiling(shape, config["segment"]["block"], chunks)[1]
        sizes = (8, 1) if stage == "make_pseudo_truth" else (8,)
        return _sum(stored_size(shape, size, own, plan.shard) for size in sizes)
    if stage == "make_phantom":
        # two TIFFs, the truth with four bytes a voxel; their compression adds less than a thousandth
        return Stored(2, int(5 * prod(shape) * 1.001) + 2**14)
    if stage == "mask_tissue":
        return stored_size(shape, 1, chunks, shard_shape(shape, tile_shape(shape, nm), chunks))
    if stage == "import_raw":
        return _imported(facts)
    kinds = _imported_labels(name, config)
    if any(kind not in facts["labels"] for kind in kinds):
        return None
    if stage == "import_labels":
        return _sum(_imported(facts["labels"][kind]) for kind in kinds)
    volume = config["volumes"][name]
    labels = tuple(facts["labels"][annotated_kind(volume)]["shape"])
    if stage == "annotate":
        pieces = chunk_shape(labels, nm)
        shards = shard_shape(labels, tile_shape(labels, nm), pieces)
        return _sum(stored_size(labels, size, pieces, shards) for size in (8, 1, 1))
    return _sections(volume, facts, config)


def _imported(facts: Config) -> Stored:
    """Return what an imported file takes."""
    shape, itemsize = tuple(facts["shape"]), np.dtype(facts["dtype"]).itemsize
    block, chunks = slab_shape(
        shape, chunk_shape(shape, facts["voxel_size"]), itemsize, facts["whole_sections"], SLAB_BYTES
    )
    return stored_size(shape, itemsize, chunks, shard_shape(shape, block, chunks))


def _sections(volume: Config, facts: Config, config: Config) -> Stored | None:
    """Return what the data sets of annotated sections take; None where the configuration doesn't name them."""
    sections: Sequence[int] | None = volume["annotation"]["sections"]
    if sections is None:
        return None
    count = min(len(set(sections)), config["prepare"]["maximum_sections"] or len(sections))
    plane = tuple(facts["shape"][1:])
    chunks = tuple(min(TILE, side) for side in plane)
    adjacent = 2 * config["nets"]["2d"]["adjacent"] + 1
    sizes = (adjacent * np.dtype(facts["dtype"]).itemsize, 8, 1, 1)
    return _sum(stored_size(plane, size, chunks) for size in sizes) * count


def _sum(parts: Iterator[Stored]) -> Stored:
    """Return the sum of what several arrays take."""
    return sum(parts, Stored())
