"""The paragraph for a paper: what a run did, with every number taken from its configuration and its results."""

from collections.abc import Mapping, Sequence
from typing import Any

from sparse2dense.stages.consistency import is_reused
from sparse2dense.stages.net_kinds import KINDS
from sparse2dense.stages.rounds import round_of

__all__ = ["methods_paragraph"]

Facts = Mapping[str, Any]
DRAWN = {
    "sections": "whole sections of dense labels",
    "disks": "disks in sections of dense labels",
    "objects": "some objects of dense labels",
    "fraction": "a part of dense labels",
    "dense": "dense labels",
}


def methods_paragraph(
    config: Facts,
    *,
    efforts: Sequence[Facts] = (),
    filters: Sequence[Facts] = (),
    summaries: Sequence[Facts] = (),
    steps: Mapping[str, int] | None = None,
    provenance: Facts | None = None,
) -> str | None:
    """Return what was done, in sentences for the methods of a paper; None where the configuration names no nets.

    Parameters
    ----------
    config
        The configuration of the run, defaults included.
    efforts, filters, summaries
        What `report_tables` makes of the annotation, of pseudo ground truth, and of the scores.
    steps
        Steps that each net was trained for, by its name; a net without takes those of the configuration.
    provenance
        `versions` and `git_commit` of the software.
    """
    if not config.get("nets") or not config.get("segment"):
        return None
    tracks = config["evaluate"]["tracks"]
    known = steps or {}
    sentences = [
        _volumes(config, provenance or {}),
        *_annotation(config, efforts),
        _first_nets(config["nets"], known),
        _segmentation(config["segment"]),
        *([_pseudo_truth(config["pseudo_truth"], filters)] if "bootstrapped" in tracks else []),
        *_last_nets(config, known),
        _choice(config["evaluate"]),
        *_scores(config["evaluate"], summaries),
    ]
    return " ".join(sentences)


def _volumes(config: Facts, provenance: Facts) -> str:
    named = [f"{name} ({volume['role']}{_voxels(volume)})" for name, volume in config["volumes"].items()]
    version = (provenance.get("versions") or {}).get("sparse2dense")
    commit = (provenance.get("git_commit") or "")[:9]
    software = "sparse2dense" + (f" {version}" if version else "") + (f" (commit {commit})" if commit else "")
    verb = "was" if len(named) == 1 else "were"
    return f"{_listed(named)} {verb} segmented with {software}, seed {config['seed']}."


def _voxels(volume: Facts) -> str:
    """The voxel size, where the configuration states it and not only the file."""
    size = (volume.get("phantom") or volume.get("raw") or {}).get("voxel_size")
    return f", voxels of {_by(size)} nm in z, y, x" if size else ""


def _annotation(config: Facts, efforts: Sequence[Facts]) -> list[str]:
    sentences = []
    for effort in efforts:
        annotation = config["volumes"].get(effort["volume"], {}).get("annotation") or {}
        drawn = DRAWN.get(annotation.get("draw", ""))
        held = annotation.get("validation")
        source = f", taken from {drawn}" if drawn else ""
        aside = f"; section {held} was kept for validation" if held is not None else ""
        sentences.append(
            f"The annotation of {effort['volume']} was {_number(effort['objects'], 'object')} in "
            f"{_number(effort['sections'], 'section')}, {_number(effort['voxels'], 'voxel')} in all{source}{aside}."
        )
    return sentences


def _first_nets(nets: Facts, steps: Mapping[str, int]) -> str:
    plane, lift = nets["2d"], nets["2d_to_3d"]
    seen = f"sees each section with {plane['adjacent']} on either side" if plane["adjacent"] else "sees single sections"
    return (
        f"A 2D U-Net ({_architecture(plane)}) {seen} and predicts {_predicted(plane)}; "
        f"it was {_training(plane, steps.get('2d'), 'on the annotation alone')}. "
        f"A 3D U-Net ({_architecture(lift)}) turns its stacked predictions into {_affinities(lift)}; it was "
        f"{_training(lift, steps.get('2d_to_3d'), 'on synthetic labels alone')}; this is the track pseudo."
    )


def _last_nets(config: Facts, steps: Mapping[str, int]) -> list[str]:
    """The sentences on the nets of the tracks `bootstrapped` and `baseline`."""
    net, tracks, rounds = config["nets"]["3d"], config["evaluate"]["tracks"], config.get("rounds", 1)
    sentences = []
    read = " and ".join("the image" if name == "raw" else name for name in KINDS[net["kind"]].inputs)
    described = f"A 3D U-Net ({_architecture(net)}) that reads {read} and predicts {_predicted(net)}"
    if "bootstrapped" in tracks:
        trained = _training(net, steps.get("3d_bootstrapped"), "on this pseudo ground truth")
        sentences.append(f"{described} was {trained}; this is the track bootstrapped.")
        described = "The same net"
        if rounds > 1:
            sentences.append(
                f"This was done in {rounds} rounds, each on pseudo ground truth from the segmentation before it."
            )
    if "baseline" in tracks:
        trained = _training(net, steps.get("3d_baseline"), "on dense ground truth of the annotated volumes")
        sentences.append(f"{described} was {trained}; this is the track baseline, to compare with.")
    return sentences


def _architecture(net: Facts) -> str:
    several = f"; mean of {net['members']} nets" if net.get("members", 1) > 1 else ""
    levels = f"{net['features']} feature maps, growing by {net['growth']} with each of {len(net['kernels'])} levels"
    return levels + several


def _predicted(net: Facts) -> str:
    heads = {"descriptors": _descriptors, "affinities": _affinities}
    return " and ".join(heads[head](net) for head in KINDS[net["kind"]].heads)


def _descriptors(net: Facts) -> str:
    return f"local shape descriptors (Gaussian of {_by(net['sigma'])} voxels)"


def _affinities(net: Facts) -> str:
    reach = max(abs(side) for offset in net["offsets"] for side in offset)
    return f"affinities to {len(net['offsets'])} neighbours up to {_number(reach, 'voxel')} away"


def _training(net: Facts, steps: int | None, data: str) -> str:
    if is_reused(net):
        return "taken as trained before"
    done = net["iterations"] if steps is None else steps
    return (
        f"trained {data} for {_number(done, 'step')} of {_number(net['batch'], 'sample')} of "
        f"{_by(net['input_shape'])} voxels (AdamW, learning rate {net['learning_rate']:g})"
    )


def _segmentation(segment: Facts) -> str:
    found = segment["fragments"]
    where = "in every section alone" if found["per_section"] else "in 3D"
    if found["method"] == "mutex":
        bias = f"biases {found['mutex']['near_bias']:g} for direct neighbours and {found['mutex']['far_bias']:g} beyond"
        how = f"by mutex watershed of all affinities {where} ({bias})"
    else:
        seeds = found["seed_distance"] if isinstance(found["seed_distance"], int) else _by(found["seed_distance"])
        how = (
            f"by watershed {where} where the mean affinity is above {found['boundary_threshold']:g}, from the voxels "
            f"deepest inside windows of {seeds} voxels"
        )
    removed = (
        f"those of fewer than {_number(found['debris'], 'voxel')} or a mean affinity below "
        f"{found['minimum_affinity']:g} were removed"
    )
    if segment["method"] == "mutex":
        joined = f"partitioned by mutex watershed (repulsion {segment['repulsion']:g})"
    elif segment["merge_function"] == "mean":
        joined = "agglomerated by the mean of the affinities between them"
    else:
        joined = f"agglomerated by affinities between them ({segment['merge_function']})"
    return f"Fragments were found {how}; {removed}. Touching fragments were {joined}."


def _pseudo_truth(settings: Facts, filters: Sequence[Facts]) -> str:
    removed = [f"fewer than {_number(settings['dust'], 'voxel')}"]
    removed += [f"fewer than {_number(settings['minimum_sections'], 'section')}"]
    if settings["outlier_deviations"] is not None:
        removed += [f"sizes more than {settings['outlier_deviations']:g} standard deviations from the mean logarithm"]
    text = f"Pseudo ground truth is the segmentation without objects of {_listed(removed, 'or')}"
    text += ", with holes filled" if settings["fill_holes"] else ""
    kept = [
        f"{_count(table['rows'][-1]['objects'])} of {_count(table['rows'][0]['objects'])} objects of {table['volume']}"
        for table in filters
        if table["round"] == 1 and table["rows"] and "objects" in table["rows"][0]
    ]
    return text + (f"; it kept {_listed(kept)}." if kept else ".")


def _choice(evaluate: Facts) -> str:
    if evaluate["choose_by"] == "disagreement":
        return "Of every track, the threshold that agrees best with long-range affinities was used."
    weight = evaluate["merge_weight"]
    heavier = f", merges weighing {weight:g} times," if weight != 1 else ""
    return f"Of every track, the threshold with the lowest VOI on the annotation{heavier} was used."


def _scores(evaluate: Facts, summaries: Sequence[Facts]) -> list[str]:
    """A sentence per test volume with the scores of every track at the chosen threshold."""
    sentences = []
    for volume in dict.fromkeys(entry["volume"] for entry in summaries if entry["role"] == "test"):
        said = []
        for entry in summaries:
            point = entry["chosen"] if entry["volume"] == volume else None
            score = (point or {}).get("interior") or {}
            if point and score.get("voi_sum") is not None:
                said.append(
                    f"{score['voi_sum']:.3f} bits for {_track(entry['track'])} (split {score['voi_split']:.3f}, merge "
                    f"{score['voi_merge']:.3f}; threshold {point['threshold']:g})"
                )
        if said:
            counted = f"counted over voxels at least {_by(evaluate['border'])} voxels (z, y, x) inside their object"
            sentences.append(f"Variation of information on {volume}, {counted}, was {_listed(said)}.")
    return sentences


def _track(track: str) -> str:
    number = round_of(track)
    return f"bootstrapped, round {number}" if number is not None and number > 1 else track


def _by(sides: Sequence[float]) -> str:
    return " × ".join(f"{side:g}" for side in sides)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _number(value: float | None, noun: str) -> str:
    """`3 steps`, `1 step`, `an unknown number of steps`."""
    if value is None:
        return f"an unknown number of {noun}s"
    return f"{_count(value)} {noun}{'' if value == 1 else 's'}"


def _listed(parts: Sequence[str], last: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"
