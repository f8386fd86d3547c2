"""Input files and parameters that follow from the configuration, in the order of the stages; no rules."""

import json

from sparse2dense.ops.thresholds import threshold_name
from sparse2dense.stages.downloading import file_name
from sparse2dense.stages.reusing import FITTING
from sparse2dense.stages.volume_consistency import addresses

# Settings of a net that don't change what it learns.
NOT_LEARNT = ("checkpoint", "members", "devices")


def to_train(key):
    """A parameter: the settings of a net; an error where a trained one is given, which this job would overwrite."""

    def settings(wildcards):
        if is_reused(config["nets"][key]):
            raise WorkflowError(f"`nets.{key}.checkpoint` is given, so nothing trains this net.")
        own = {name: value for name, value in config["nets"][key].items() if name not in NOT_LEARNT}
        return own | ({"kind": "3d_lsd"} if wildcards.net.startswith("3d_lsd_") else {})

    return settings


def weights_of(volumes):
    """How often a net is shown samples of each of `volumes`, by name."""
    return {name: config["volumes"][name]["weight"] for name in volumes}


def member_seed(wildcards):
    """The seed of a net: the run's for the first of an ensemble, then the following numbers."""
    return config["seed"] + next(names.index(wildcards.net) for names in MEMBERS.values() if wildcards.net in names)


def checkpoint_files(net):
    """The checkpoints of all members of a net."""
    return [f"<results>/nets/{name}/checkpoint.pt" for name in MEMBERS[net]]


def nets_of(tracks):
    """The 3D nets of tracks, with those of ensembles."""
    return [name for name, track in TRACK_OF.items() if track in tracks]


def first_descriptors(volumes):
    """An input function: what the first of two nets predicts of `volumes`, for the second to read; else nothing."""

    def files(wildcards):
        if not AUTO_CONTEXT or wildcards.net.startswith("3d_lsd_"):
            return []
        return [f"<results>/{volume}/{TRACK_OF[wildcards.net]}/descriptors.zarr" for volume in volumes]

    return files


def checkpoint_source(wildcards):
    """The file of a trained net: on this machine, or downloaded."""
    given = config["nets"][KEYS[wildcards.net]]["checkpoint"]
    return given["path"] if given["path"] is not None else f"<results>/nets/{wildcards.net}/download"


def checkpoint_name(wildcards):
    """The name of a trained net's file in its download; None where it isn't downloaded."""
    given = config["nets"][KEYS[wildcards.net]]["checkpoint"]
    return file_name(given["url"]) if given["path"] is None else None


def reuse_settings(wildcards):
    """Where a trained net is, and what it must be; what it is trained like doesn't matter."""
    settings = config["nets"][KEYS[wildcards.net]]
    return {key: value for key, value in settings.items() if key in (*FITTING, "checkpoint")}


def stated_voxel_sizes(wildcards, input):
    """Voxel size in nm of every volume whose configuration states it.

    It takes `input` for Snakemake not to compare it with the last time: a further volume makes no net anew.
    """
    images = {name: volume.get("phantom") or volume["raw"] for name, volume in config["volumes"].items()}
    return {name: image["voxel_size"] for name, image in images.items() if image["voxel_size"] is not None}


def annotation_settings(wildcards):
    """How the annotation of a volume is drawn, with its own seed or the run's."""
    settings = {
        key: value for key, value in of_volume("annotation")(wildcards).items() if key not in ("validation", "linked")
    }
    return settings | {"seed": config["seed"] if settings["seed"] is None else settings["seed"]}


def source_of(wildcards):
    """The block of the configuration that says where an image or labels come from."""
    return config["volumes"][wildcards.volume][wildcards.kind]


def source_files(wildcards):
    """What to import: generated, on this machine, or downloaded once for all volumes that name the same address."""
    volume = config["volumes"][wildcards.volume]
    if wildcards.kind not in volume:
        return "<results>/{volume}/phantom/{kind}.tif"
    source = volume[wildcards.kind]
    if source["path"] is not None:
        return source["path"]
    return f"<results>/{first_with(addresses(source))}"


def first_with(urls):
    """Where the first volume that names `urls` keeps its download."""
    return next(
        f"{name}/download/{kind}"
        for name, volume in config["volumes"].items()
        for kind in ("raw", "truth", "painted", "painted_mask")
        if kind in volume and addresses(volume[kind]) == urls
    )


def file_of(wildcards):
    """The name of the only file of a download; None for a series, which is read as one, and for other sources."""
    volume = config["volumes"][wildcards.volume]
    urls = addresses(volume[wildcards.kind]) if wildcards.kind in volume else []
    return file_name(urls[0]) if len(urls) == 1 else None


def checksums(wildcards):
    """The checksums of the files to download, as a list."""
    given = source_of(wildcards)["url_sha256"]
    return [given] if isinstance(given, str) else given


def import_settings(wildcards):
    """How to read a source; generated images and truth only need their voxel size."""
    volume = config["volumes"][wildcards.volume]
    if wildcards.kind not in volume:
        return {"voxel_size": volume["phantom"]["voxel_size"]}
    unused = ("path", "url", "url_sha256")
    return {key: value for key, value in volume[wildcards.kind].items() if key not in unused}


def annotation_files(wildcards):
    """The labels that a volume's annotation is taken or drawn from, and a painted mask where there is one."""
    volume = config["volumes"][wildcards.volume]
    kind = "painted" if volume["annotation"]["draw"] == "painted" else "truth"
    files = {"source": f"<results>/{wildcards.volume}/{kind}.zarr"}
    if "painted_mask" in volume:
        files["painted_mask"] = f"<results>/{wildcards.volume}/painted_mask.zarr"
    return files


def tissue_file(wildcards):
    """The mask outside of which there are no fragments, where it is asked for."""
    wanted = config["segment"]["fragments"]["only_tissue"]
    return {"tissue": f"<results>/{wildcards.volume}/tissue.zarr"} if wanted else {}


def fragment_settings():
    """How fragments are made: the keys that the library knows, those of mutex watershed only where it is chosen."""
    settings = {
        key: value for key, value in config["segment"]["fragments"].items() if key not in ("only_tissue", "method")
    }
    chosen = config["segment"]["fragments"]["method"] == "mutex"
    return settings | {"mutex": settings["mutex"] | {"seed": config["seed"]} if chosen else None}


def prediction_settings():
    """What the predictions of a volume depend on beside its net: all keys but the block, and which stacks there are."""
    return {key: value for key, value in config["predict"].items() if key not in ("block", "orientations")}


def prediction_block(wildcards, input):
    """The block of prediction.

    It takes `input` for Snakemake not to compare it with the last time: the result doesn't depend on it, and what follows
    a prediction that is made again is made again as well, up to the nets trained on it.
    """
    return config["predict"]["block"]


def threshold_file(wildcards):
    """The file that says which threshold `best`, `chosen` or `agreeing` is; none for a number."""
    if wildcards.threshold == "best":
        return {"threshold": f"<results>/{wildcards.volume}/{wildcards.track}/best.json"}
    if wildcards.threshold == "chosen":
        return {"threshold": f"<results>/thresholds/{wildcards.track}.json"}
    if wildcards.threshold == "agreeing":
        return {"threshold": f"<results>/{wildcards.volume}/{wildcards.track}/disagreement.csv"}
    return {}


def sweeps_to_choose_by(wildcards):
    """The disagreement at every threshold, of all volumes that a track is followed on but test volumes."""
    return [
        f"<results>/{volume}/{track}/disagreement.csv"
        for volume, track in FOLLOWED
        if track == wildcards.track and volume not in TEST
    ]


def predicted_files(wildcards):
    """All that was predicted on the way to the fragments of a track, by name."""
    if wildcards.track == "pseudo":
        names = [f"stacked_{name}" for name in PREDICTED_2D] + ["affinities"]
    else:
        names = [*PREDICTED_3D, *(["descriptors"] if AUTO_CONTEXT else [])]
    return {name: f"<results>/{wildcards.volume}/{wildcards.track}/{name}.zarr" for name in names}


def judged_files(wildcards):
    """What is looked at to suggest annotation: the 2D net's affinities if it predicts any, and the annotation if any."""
    files = {
        "raw": f"<results>/{wildcards.volume}/raw.zarr",
        "affinities": uncertain_affinities(wildcards),
        "fragments": f"<results>/{wildcards.volume}/pseudo/fragments.zarr",
        "lut": f"<results>/{wildcards.volume}/pseudo/luts/chosen.parquet",
    }
    if wildcards.volume in ANNOTATED:
        files["mask"] = f"<results>/{wildcards.volume}/mask.zarr"
    return files | tissue_file(wildcards)


def uncertain_affinities(wildcards):
    """The affinities that say how sure the 2D net is: its own, or those that follow from its descriptors."""
    stacked = "stacked_" if "affinities" in PREDICTED_2D else ""
    return f"<results>/{wildcards.volume}/pseudo/{stacked}affinities.zarr"


def downsample_of(wildcards):
    """How coarsely the descriptors were computed that a track's net learnt."""
    return config["nets"]["2d" if wildcards.track == "pseudo" else "3d"]["downsample"]


def reference_files(wildcards):
    """What a segmentation is scored against: truth of test volumes, the annotation and its mask of annotated ones."""
    if wildcards.volume in TEST:
        return {"truth": f"<results>/{wildcards.volume}/truth.zarr"}
    if wildcards.volume in UNLABELLED:
        raise WorkflowError(
            f"Nothing says what is right in {wildcards.volume}, whose role is unlabelled: it has no scores and no `best`.",
            "Ask for the threshold `chosen` or `agreeing`, or for a number.",
        )
    return {"truth": f"<results>/{wildcards.volume}/labels.zarr", "mask": f"<results>/{wildcards.volume}/mask.zarr"}


def skeleton_files(wildcards):
    """The file that skeletons are read from, or the truth that they are made of."""
    skeletons = of_volume("skeletons")(wildcards)
    if skeletons is None:
        raise WorkflowError(
            f"{wildcards.volume} has no skeletons.",
            "Add `skeletons: {from_truth: true}` to the volume, or a `path`, to score it by them.",
        )
    if skeletons["from_truth"]:
        return {"truth": f"<results>/{wildcards.volume}/truth.zarr"}
    return {"source": skeletons["path"]}


def skeleton_settings(wildcards):
    """How skeletons are made, or read from their file."""
    skeletons = of_volume("skeletons")(wildcards)
    keys = ("region", "node_distance_nm") if skeletons["from_truth"] else ("region", "voxel_size", "offset")
    return {key: skeletons[key] for key in keys}


def edits_files(wildcards):
    """The contacts of fragments, where cuts between them are to be counted."""
    if not config["evaluate"]["edits"]:
        return {}
    return {"graph": f"<results>/{wildcards.volume}/{wildcards.track}/graph"}


def annotated_by_section(wildcards):
    """Whether only sections of a volume are labelled, as far as the configuration tells."""
    annotation = of_volume("annotation")(wildcards)
    return bool(annotation and (annotation["sections"] or annotation["draw"] in ("painted", "sections", "disks")))


def border_of(wildcards):
    """The border of the convention `interior`; 0 along z where single sections are labelled."""
    z, y, x = config["evaluate"]["border"]
    return [0 if annotated_by_section(wildcards) else z, y, x]


def scored_per_section(wildcards):
    """Whether each section is scored by itself, because the same id in two sections is not the same object."""
    annotation = of_volume("annotation")(wildcards)
    if annotation is None:
        return False
    return annotation["draw"] == "painted" if annotation["linked"] is None else not annotation["linked"]


def pseudo_segmentation(wildcards):
    """The segmentation that pseudo ground truth is made from.

    It is named by its threshold, not `chosen`: more thresholds then lead to new pseudo ground truth, and a new
    training, only where another one is chosen.
    """
    threshold = pseudo_threshold(wildcards.track)
    if threshold == "chosen":
        with checkpoints.choose_threshold.get(track=wildcards.track).output.json.open() as file:
            threshold = json.load(file)["threshold"]
    return f"<results>/{wildcards.volume}/{wildcards.track}/segmentation/{threshold_name(threshold)}.zarr"


def learnt_from(output):
    """An input function: an output of `make_pseudo_truth`, of all volumes, that the net of a round learns from."""
    return lambda wildcards: expand(output, volume=ANNOTATED + UNLABELLED, track=LEARNT_FROM[TRACK_OF[wildcards.net]])


def truth_of_test(wildcards):
    """Dense truth to show beside the segmentation of a test volume."""
    return {"truth": f"<results>/{wildcards.volume}/truth.zarr"} if wildcards.volume in TEST else {}
