"""The configuration with its defaults, and lists of volumes, tracks and nets; no rules."""

import os
import re
from functools import cache

from sparse2dense.ops.views import ORIENTATIONS
from sparse2dense.stages.checking import input_problems, known_sizes
from sparse2dense.stages.configuration import complete, load_schema, problems
from sparse2dense.stages.consistency import LIFT_INPUTS, PREDICTED, is_reused, member_names, threshold_names
from sparse2dense.stages.memory import memory_problems
from sparse2dense.stages.net_kinds import KINDS
from sparse2dense.stages.orienting import stack_name
from sparse2dense.stages.reusing import own_results, with_checkpoints
from sparse2dense.stages.rounds import bootstrapped_tracks, run_tracks
from sparse2dense.stages.sourcecode import code_hash

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
# The section of each that is kept from the 2D net's training.
VALIDATION = {name: config["volumes"][name]["annotation"]["validation"] for name in ANNOTATED}
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
# GPUs that train a net together.
DEVICES = {key: net["devices"] for key, net in config["nets"].items()}
# Whether the 2D-to-3D net learns from errors of the 2D net that were measured.
MEASURED = config["nets"]["2d_to_3d"]["synthetic"]["errors"] == "measured"
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


def of_volume(key):
    """The value of `key` of the volume that a job is about; None where it has none."""
    return lambda wildcards: config["volumes"][wildcards.volume].get(key)


def pseudo_threshold(track):
    """The threshold of a track's segmentation for pseudo ground truth; only that of the pseudo track can be given."""
    return config["pseudo_truth"]["threshold"] if track == "pseudo" else "chosen"


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
