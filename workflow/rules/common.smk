"""The configuration with its defaults, lists of volumes by role, and how resources grow; no rules."""

import json
import os
import re
from dataclasses import asdict
from functools import cache

from snakemake.io import IOFile

from sparse2dense.ops.thresholds import threshold_name
from sparse2dense.ops.views import ORIENTATIONS
from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema, problems
from sparse2dense.stages.consistency import LIFT_INPUTS, PREDICTED, is_reused, member_names, threshold_names
from sparse2dense.stages.downloading import file_name
from sparse2dense.stages.memory import SHARED, Allowance, memory_problems, this_machine
from sparse2dense.stages.net_kinds import KINDS
from sparse2dense.stages.orienting import stack_name
from sparse2dense.stages.reusing import FITTING, own_results, with_checkpoints
from sparse2dense.stages.rounds import bootstrapped_tracks, run_tracks
from sparse2dense.stages.scattering import part_records
from sparse2dense.stages.sourcecode import code_hash
from sparse2dense.stages.volume_consistency import addresses

# For envs/sparse2dense.post-deploy.sh, which Snakemake runs from a copy, in the directory of the run.
os.environ.update(SPARSE2DENSE_SOURCE=str(workflow.basedir))

SCHEMA = load_schema(Path(workflow.basedir) / "workflow/schemas/config.schema.yaml")
GIVEN, REFUSED = with_checkpoints(config)
REFUSED += problems(GIVEN, SCHEMA)
if not REFUSED:
    config.update(complete(GIVEN, SCHEMA))
    if workflow.is_main_process:
        # Here and not in a job, so that nothing has started yet, and nothing already computed is given up.
        REFUSED, FOUND = input_problems(config)


def refuse(reasons):
    """End before anything starts, where there are reasons to."""
    if reasons:
        raise WorkflowError("The configuration or its input can't be used.", *map(str, reasons))


refuse(REFUSED)

# What is checked and planned by, beside the files.
CHECKED = ["volumes", "prepare", "nets", "predict", "segment", "pseudo_truth", "rounds", "evaluate", "paint_next"]
VOLUMES = list(config["volumes"])
ANNOTATED, UNLABELLED, TEST = (
    [name for name in VOLUMES if config["volumes"][name]["role"] == role]
    for role in ("annotated", "unlabelled", "test")
)
DENSE = [name for name in ANNOTATED if {"truth", "phantom"} & set(config["volumes"][name])]
# The track of every round, and the one whose segmentation it learns from.
BOOTSTRAPPED = bootstrapped_tracks(config["rounds"])
LEARNT_FROM = dict(zip(BOOTSTRAPPED, ["pseudo", *BOOTSTRAPPED]))
TRACKS = run_tracks(config["evaluate"]["tracks"], config["rounds"])
MUTEX = config["segment"]["method"] == "mutex"
# Without effect on a merge tree, whose results must not be made again for it.
REPULSION = config["segment"]["repulsion"] if MUTEX else None
# What gives the segments of every threshold.
PARTITIONS = "<results>/{volume}/{track}/" + ("graph" if MUTEX else "merge_tree.parquet")
PREDICTED_2D = PREDICTED[config["nets"]["2d"]["kind"]]
PREDICTED_3D = PREDICTED[config["nets"]["3d"]["kind"]]
# What the 2D-to-3D net reads, of sections across every axis that is wanted.
LIFTED = [
    stack_name(name, axis)
    for axis in ORIENTATIONS
    if axis in config["predict"]["orientations"]
    for name in LIFT_INPUTS[config["nets"]["2d_to_3d"]["kind"]]
]
READ_3D = list(KINDS[config["nets"]["3d"]["kind"]].inputs)
PATHS_3D = [f"<results>/{{volume}}/{'' if name == 'raw' else '{track}/'}{name}.zarr" for name in READ_3D]
# Whether the 3D net of a track reads what a first one, `3d_lsd`, predicts.
AUTO_CONTEXT = "descriptors" in READ_3D
# Tracks and the volumes they are followed on: scored where there is a reference, else only for pseudo ground truth.
SCORED = [(volume, track) for volume in ANNOTATED + TEST for track in TRACKS]
UNSCORED = [(volume, track) for volume in UNLABELLED for track in LEARNT_FROM.values()]
FOLLOWED = SCORED + UNSCORED
# Volumes of which sections are suggested for annotation.
SUGGESTED = [name for name, track in FOLLOWED if track == "pseudo" and name not in TEST]
if config["paint_next"]["count"] == 0:
    SUGGESTED = []
# Scores by skeletons, of every track on the test volumes that have them.
SKELETON_SCORES = [
    f"<results>/{volume}/{track}/skeleton_scores.csv"
    for volume, track in SCORED
    if "skeletons" in config["volumes"][volume]
]
# Nets by the directory they stand in, with their key in the configuration; tracks share the settings of one. Those of
# an ensemble have directories of their own, of which the first is that of a single net.
STEPS = ["3d_lsd", "3d"] if AUTO_CONTEXT else ["3d"]
FIRST = {"2d": "2d", "2d_to_3d": "2d_to_3d"} | {
    f"{step}_{track}": "3d" for track in [*BOOTSTRAPPED, "baseline"] for step in STEPS
}
MEMBERS = {net: member_names(net, config["nets"][key]) for net, key in FIRST.items()}
# The track of every 3D net.
TRACK_OF = {
    name: track for track in [*BOOTSTRAPPED, "baseline"] for step in STEPS for name in MEMBERS[f"{step}_{track}"]
}
KEYS = {name: FIRST[net] for net, names in MEMBERS.items() for name in names if TRACK_OF.get(name) in (None, *TRACKS)}
REUSED = [net for net, key in KEYS.items() if is_reused(config["nets"][key])]
NETS = [net for net in KEYS if net not in REUSED]
# Volumes and tracks whose segmentation becomes pseudo ground truth.
BOOTSTRAPPING = (
    [(volume, track) for track in LEARNT_FROM.values() for volume in ANNOTATED + UNLABELLED]
    if "3d_bootstrapped" in NETS
    else []
)


def either(names):
    """A regular expression that matches each of `names`, and nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


# Tracks of a 3D net, and those where it is the second of two, as regular expressions.
ON_RAW = either([*BOOTSTRAPPED, "baseline"])
FIRST_TRACKS = either([*BOOTSTRAPPED, "baseline"] if AUTO_CONTEXT else [])


@cache
def inspected():
    """What is wrong with the voxels of the input, and what they show; read once, and only where jobs are to start."""
    from sparse2dense.stages.inspecting import inspect_input  # its libraries take a second

    return inspect_input(config, FOUND)


def growing(base):
    """A resource that starts at `base` and doubles with every attempt."""
    return lambda wildcards, attempt: base * 2 ** (attempt - 1)


def of_volume(key):
    """The value of `key` of the volume that a job is about; None where it has none."""
    return lambda wildcards: config["volumes"][wildcards.volume].get(key)


def parts(output):
    """An input function: the records of all jobs that share the blocks of `output`, none where one job makes it.

    An output that exists keeps those it was made from: else Snakemake would make it again when `jobs` changes.
    """

    def records(wildcards):
        made = workflow.pathvars.apply(output.format(**dict(wildcards.items())))
        if Path(made).exists():
            return [name for name in workflow.persistence.input(IOFile(made)) or [] if ".parts/" in name]
        return part_records(output, of_volume("jobs")(wildcards))

    return records


def gpu_for_blocks(wildcards):
    """A GPU for jobs that compute blocks, none for the one that gives the work of others its name."""
    return int("part" in wildcards.keys() or of_volume("jobs")(wildcards) == 1)


def allowance(name):
    """What a job of a rule gets at its first attempt; None where that depends on its input."""
    settings = getattr(rules, name).rule
    try:
        given = settings.expand_resources({"volume": VOLUMES[0], "part": "0-of-1"}, [], 1)
    except WorkflowError:
        return None  # somebody's own --set-resources with a function of the input
    if workflow.local_exec:
        return this_machine(given._cores)
    if not isinstance(given.get("mem_mb"), int):
        return None
    more = f"ask for more: --set-resources {name}:mem_mb=<MB>"
    return Allowance(given._cores, given.mem_mb, given.get("gpu", 0) > 0, f"the `mem_mb` of the rule {name}", more)


def allowances(wildcards):
    """What a job of every rule that is planned gets, as plain data."""
    from sparse2dense.stages.costs import STAGES  # its libraries take a second

    shared = {f"{name}_part" for name in [*SHARED, "import_raw"]}
    given = {name: allowance(name) for name in sorted({*shared, *STAGES})}
    return {name: asdict(one) if one is not None else None for name, one in given.items()}


def rates(wildcards):
    """What stages took in the runs beside this one, and in itself, as plain data."""
    from sparse2dense.stages.rates import measured_rates  # its libraries take a second

    here = Path(workflow.pathvars.apply("<results>"))
    return {stage: asdict(rate) for stage, rate in measured_rates(here.parent, here.name, config).items()}


def to_train(key):
    """A parameter: the settings of a net; an error where a trained one is given, which this job would overwrite."""

    def settings(wildcards):
        if is_reused(config["nets"][key]):
            raise WorkflowError(f"`nets.{key}.checkpoint` is given, so nothing trains this net.")
        own = {name: value for name, value in config["nets"][key].items() if name not in ("checkpoint", "members")}
        return own | ({"kind": "3d_lsd"} if wildcards.net.startswith("3d_lsd_") else {})

    return settings


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


def pseudo_threshold(track):
    """The threshold of a track's segmentation for pseudo ground truth; only that of the pseudo track can be given."""
    return config["pseudo_truth"]["threshold"] if track == "pseudo" else "chosen"


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


def figures():
    """The pictures that the report shows, by its sections."""
    followed = {True: "best", False: "chosen"}
    last = [
        f"{volume}/{track}/figures/segmentation_{followed[(volume, track) in SCORED]}" for volume, track in FOLLOWED
    ]
    shown = {
        "annotation": [f"{volume}/figures/annotation" for volume in ANNOTATED],
        "prediction": [f"{volume}/pseudo/figures/prediction" for volume, track in FOLLOWED if track == "pseudo"],
        "affinities": [f"{volume}/{track}/figures/affinities" for volume, track in FOLLOWED],
        "fragments": [f"{volume}/{track}/figures/fragments" for volume, track in FOLLOWED],
        "segmentation": last,
        "pseudo_truth": [f"{volume}/{track}/figures/pseudo_truth" for volume, track in BOOTSTRAPPING],
        "paint_next": [f"{volume}/pseudo/figures/paint_next" for volume in SUGGESTED],
        "errors": [
            f"{volume}/{track}/figures/{kind}" for volume in TEST for track in TRACKS for kind in ("splits", "merges")
        ],
        "shapes": [f"{volume}/{track}/figures/shapes" for volume in TEST for track in TRACKS],
    }
    return {section: [f"<results>/{name}.png" for name in names] for section, names in shown.items()}


FIGURES = figures()
# What the report is made of, charts apart, which are drawn when all this is there.
GATHERED = FIGURES | {
    "scores": [f"<results>/{volume}/{track}/scores.csv" for volume, track in SCORED],
    "best": [f"<results>/{volume}/{track}/best.json" for volume, track in SCORED],
    "worst": [f"<results>/{volume}/{track}/errors.csv" for volume in TEST for track in TRACKS],
    "panes": [f"<results>/{volume}/figures/side_by_side" for volume in TEST],
    "skeletons": SKELETON_SCORES,
    "suggestions": ["<results>/paint_next.csv"] if SUGGESTED else [],
    "reused": [f"<results>/nets/{net}/reused.json" for net in REUSED],
    "losses": [f"<results>/nets/{net}/losses.csv" for net in NETS],
    "snapshots": [f"<results>/nets/{net}/snapshots.png" for net in NETS],
    "filters": [f"<results>/{volume}/{track}/pseudo_truth.csv" for volume, track in BOOTSTRAPPING],
}
# Charts of the whole run; each is named like its section of the report.
CHARTS = (["scores"] if SCORED else []) + (["losses"] if NETS else []) + ["resources"]
SHOWN = GATHERED | {"charts": [f"<results>/charts/{name}.png" for name in CHARTS]}


def once_chosen(files):
    """An input function for `files`, which may follow from pseudo ground truth.

    Snakemake plans all that follows a job that must run, here from other thresholds to a new training. Once the 3D net
    of a round is trained, the plan therefore ends at the choice of the threshold and goes on from there: mostly with
    the old one.
    """

    def inputs(wildcards):
        for track, former in LEARNT_FROM.items() if BOOTSTRAPPING else ():
            trained = Path(workflow.pathvars.apply(f"<results>/nets/3d_{track}/checkpoint.pt"))
            if pseudo_threshold(former) == "chosen" and trained.exists():
                checkpoints.choose_threshold.get(track=former)
        return files

    return inputs


def caption(name):
    """The text below a picture, the same in the report and in Snakemake's."""
    return (Path(workflow.basedir) / "workflow/report" / f"{name}.rst").read_text().strip()
