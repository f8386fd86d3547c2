"""How long stages took in runs that were made already: the only ground on which a plan speaks of time."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.stages.consistency import used_nets
from sparse2dense.stages.costs import STAGES
from sparse2dense.stages.net_kinds import NetDescription, describe_net
from sparse2dense.stages.viewing import views_of
from sparse2dense.volumes.provenance import plain

__all__ = ["Rate", "measured_rates"]

Config = Mapping[str, Any]
PART = re.compile(r"\.\d+-of-(\d+)$")
SAMPLE = ("input_shape", "batch", "downsample", "channels_last", "compile")
"""What the time of a step depends on besides the net."""
PREDICTED = {
    "predict_2d": ("2d", "*/pseudo/stacked_*.zarr"),
    "predict_2d_to_3d": ("2d_to_3d", "*/pseudo/affinities.zarr"),
    "predict_3d_lsd": ("3d_lsd", "*/*/descriptors.zarr"),
    "predict_3d": ("3d", "*/b*/affinities.zarr"),
}
"""The net of a rule, and where its predictions lie in a run."""


@dataclass(frozen=True)
class Rate:
    """What a stage took in a run.

    Parameters
    ----------
    run
        Its name.
    seconds
        Of all jobs that were measured.
    work
        Voxels that they went through, or steps that they trained.
    """

    run: str
    seconds: float
    work: int


def measured_rates(results: Path, run: str, config: Config) -> dict[str, Rate]:
    """Return what stages took, by rule, training by net as `train_<net>`; what nobody measured is missing.

    The run itself counts before others, and of these the one that went through most. Nets count as measured only where
    they have the same layers, and are trained or applied in the same way.

    Parameters
    ----------
    results
        The folder of all runs.
    run
        The name of the run that is planned.
    config
        Its configuration, with defaults.
    """
    folders = sorted({folder.parent for folder in results.glob("*/benchmarks")})
    rates = {}
    stages = [stage for stage in STAGES if not stage.startswith("train_")]
    for stage in [*stages, *(f"train_{net}" for net in used_nets(config))]:
        own = []
        for folder in folders:
            net = stage.removeprefix("train_")
            seconds, work = _trained(folder, net) if stage.startswith("train_") else _went_through(folder, stage)
            if seconds > 0 and work > 0:
                own.append((folder.name == run, work, folder, seconds))
        for _, work, folder, seconds in sorted(own, reverse=True):
            if _comparable(folder, stage, config):
                rates[stage] = Rate(folder.name, seconds, work)
                break
    return rates


def _went_through(folder: Path, stage: str) -> tuple[float, int]:
    """Return seconds and voxels of the jobs of a rule that were measured in a run."""
    seconds, voxels = 0.0, 0
    for file in sorted((folder / "benchmarks" / stage).glob("*.tsv")):
        part = PART.search(file.stem)
        if part is None and any(file.parent.glob(f"{file.stem}.*-of-*.tsv")):
            continue  # gives a name to what others computed
        name, _, kind = file.stem.partition(".")
        image = f"{kind.split('.')[0]}.zarr" if stage.startswith("import_") else "raw.zarr"
        shape = _metadata(folder / name / image).get("shape", [0])
        took = _seconds(file)
        if took is not None and prod(shape):
            seconds += took
            voxels += prod(shape) // (int(part[1]) if part else 1)
    return seconds, voxels


def _seconds(file: Path) -> float | None:
    """Return the mean time of what a benchmark measured; None where it holds none."""
    with file.open(newline="") as lines:
        texts = [row.get("s") or "" for row in csv.DictReader(lines, delimiter="\t")]
    found = [float(text) for text in texts if re.fullmatch(r"\d+(\.\d+)?", text)]
    return sum(found) / len(found) if found else None


def _trained(folder: Path, net: str) -> tuple[float, int]:
    """Return seconds and steps of the trainings of a net in a run, those of attempts that were stopped included."""
    seconds, steps = 0.0, 0
    for file in _nets(folder, net, "losses.csv"):
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        if rows:
            seconds, steps = seconds + float(rows[-1]["seconds"]), steps + int(rows[-1]["step"])
    return seconds, steps


def _nets(folder: Path, net: str, name: str) -> Iterator[Path]:
    """Yield the files of a name of all nets in a run that one block of `nets` describes."""
    for file in sorted((folder / "nets").glob(f"*/{name}")):
        stem = file.parent.name.split("_member_")[0]
        if stem == net or (net.startswith("3d") and re.fullmatch(rf"{net}_(bootstrapped.*|baseline)", stem)):
            yield file


def _metadata(store: Path) -> dict[str, Any]:
    """Return what describes the array of a volume, nothing where there is none."""
    file = store / "0/zarr.json"
    content: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return content


def _comparable(folder: Path, stage: str, config: Config) -> bool:
    """Return whether what a stage took in a run says how long it takes with the nets of a configuration."""
    trained = stage.startswith("train_")
    if not trained and stage not in PREDICTED:
        return True
    net, predicted = (stage.removeprefix("train_"), "") if trained else PREDICTED[stage]
    nets = used_nets(config)
    if net not in nets:
        return False
    settings = nets[net]
    wanted = describe_net(settings, section_settings=nets["2d"] if net == "2d_to_3d" else None)
    for file in _nets(folder, net, "checkpoint.pt"):
        try:
            description, how = _described(file)
        except InputError:  # somebody's broken file is no matter of this run
            return False
        if description.kind != wanted.kind or description.architecture != wanted.architecture:
            return False
        if trained:
            return all(key in how and how[key] == plain(settings[key]) for key in SAMPLE if key in settings)
        views = len(views_of(wanted, config["predict"]["flips"], config["predict"]["transpose"]))
        return _passes(folder, predicted) == views * settings["members"]
    return False


def _passes(folder: Path, predicted: str) -> int | None:
    """Return how often nets passed over a volume that they predicted in a run; None where it is gone."""
    for store in sorted(folder.glob(predicted)):
        how = _metadata(store).get("attributes", {}).get("provenance", {}).get("settings")
        if how is not None:
            return len(how.get("views", [None])) * (1 + len(how.get("members", [])))
    return None


def _described(checkpoint: Path) -> tuple[NetDescription, dict[str, Any]]:
    """Return what a net is, and the settings that it was trained with; none where it was trained elsewhere."""
    from sparse2dense.stages.nets import read_training  # its library takes seconds, and not every plan needs it

    return read_training(checkpoint)
