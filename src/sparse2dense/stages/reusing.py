"""Trained nets used again: what their checkpoints say goes into the configuration, and what doesn't fit is refused."""

import copy
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.stages.downloading import checksum
from sparse2dense.stages.net_kinds import KINDS, NetDescription, settings_of
from sparse2dense.volumes.provenance import plain
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["FITTING", "local_problems", "own_results", "reuse_net", "with_checkpoints"]

log = logging.getLogger(__name__)

Config = Mapping[str, Any]
FITTING = ("kind", "adjacent", "offsets", "sigma")
"""What other stages rely on: a configuration may leave it out, but not contradict it. The rest is the net's own."""


def with_checkpoints(config: Config) -> tuple[dict[str, Any], list[InputError]]:
    """Return a copy of `config` in which nets from a file of this machine are described by their checkpoint.

    Parameters
    ----------
    config
        As the user wrote it, without defaults; where it doesn't fit the schema it is left alone.

    Returns
    -------
    tuple
        The copy, and what is wrong with the checkpoints. A net that can't be used is left as it was.
    """
    full = copy.deepcopy(dict(config))
    problems = []
    for name, net in _local_nets(full):
        try:
            description = _read(Path(net["checkpoint"]["path"]), net["checkpoint"].get("sha256"))
        except InputError as error:
            key = f"`nets.{name}.checkpoint`"
            problems.append(InputError(f"{key}: {error.problem}", allowed=error.allowed, remedy=error.remedy))
            continue
        found = list(misfits(name, description, net))
        problems += found
        if not found:
            net.update(settings_of(description))
    return full, problems


def local_problems(nets: Config, found: Mapping[str, Config]) -> list[InputError]:
    """Return why nets from files of this machine don't fit the other nets or the volumes.

    Parameters
    ----------
    nets
        The block `nets` of a configuration with its defaults, as `with_checkpoints` left it.
    found
        Voxel size (nm) of volumes by name, in `voxel_size`.
    """
    problems: list[InputError] = []
    sizes = {name: facts["voxel_size"] for name, facts in found.items()}
    for name, net in _local_nets({"nets": nets}):
        try:
            description = _read(Path(net["checkpoint"]["path"]), net["checkpoint"]["sha256"])
        except InputError:
            continue  # said already
        problems += [*lift_misfits(name, description, nets["2d"]), *voxel_misfits(name, description, sizes)]
    return problems


def own_results(nets: Config, folder: Path) -> Iterator[InputError]:
    """Yield a problem for every net that would be copied over itself: `folder` holds the nets of this run."""
    for name, net in _local_nets({"nets": nets}):
        path = Path(net["checkpoint"]["path"])
        if path.resolve().is_relative_to(folder.resolve()):
            yield InputError(
                f"`nets.{name}.checkpoint.path` is {path}, a result of this run",
                allowed="a net of another run, or a file elsewhere",
                remedy="copy the file out of the results, or give this run another name with `run`",
            )


def misfits(name: str, description: NetDescription, settings: Config) -> Iterator[InputError]:
    """Yield why a described net is not the one that `settings`, a block of `nets`, ask for; keys may be missing."""
    if _name_of(description.kind) != name:
        yield InputError(
            f"`nets.{name}.checkpoint` holds a net of kind {description.kind}",
            allowed=" or ".join(kind for kind in KINDS if _name_of(kind) == name),
            remedy=f"name the checkpoint of a net `{name}` of another run",
        )
        return
    for key, value in settings_of(description).items():
        if key in FITTING and key in settings and plain(settings[key]) != plain(value):
            yield InputError(
                f"`nets.{name}.{key}` is {settings[key]}, but the net in its `checkpoint` has {value}",
                allowed=f"{value}",
                remedy=f"write `{key}: {value}`, or train a net instead of using this one",
            )


def lift_misfits(name: str, description: NetDescription, section: Config) -> Iterator[InputError]:
    """Yield why a 2D-to-3D net can't read what a 2D net of the settings `section` predicts; other nets read neither."""
    inputs = KINDS[description.kind].inputs
    wanted = {"affinities": ("offsets", description.input_offsets), "descriptors": ("sigma", description.sigma)}
    for what, (key, value) in wanted.items():
        if what in inputs and plain(section[key]) != plain(value):
            yield InputError(
                f"`nets.{name}.checkpoint` reads {what} of the {key} {plain(value)}, but `nets.2d.{key}` is "
                f"{section[key]}",
                allowed="what the net was trained on",
                remedy=f"write `{key}: {plain(value)}` for `nets.2d`, or train the 2D-to-3D net for this 2D net",
            )


def voxel_misfits(name: str, description: NetDescription, sizes: Mapping[str, Sequence[float]]) -> Iterator[InputError]:
    """Yield the volumes whose voxels, of `sizes` in nm, differ too much from those that a net was trained on."""
    for volume, size in sizes.items():
        if not description.fits_voxels(size):
            yield InputError(
                f"volume {volume} has voxels of {list(size)} nm, but the net in `nets.{name}.checkpoint` was trained "
                f"on {plain(description.voxel_size)} nm",
                allowed="voxels within a quarter of these along every axis",
                remedy="resample the volume, or train a net on it",
            )


def reuse_net(
    source: Path,
    checkpoint: Path,
    record: Path,
    *,
    name: str,
    settings: Config,
    section_settings: Config,
    voxel_sizes: Mapping[str, Sequence[float]],
) -> None:
    """Check a trained net and copy it to where a training would leave its own.

    Parameters
    ----------
    source
        The file.
    checkpoint, record
        The copy; and a JSON file that says where it came from: `origin, sha256, kind`.
    name
        `2d`, `2d_to_3d` or `3d`, the key of the net in `nets`.
    settings
        What its block of the configuration says of `kind`, `adjacent`, `offsets`, `sigma` and `checkpoint`.
    section_settings
        `offsets` and `sigma` of the 2D net.
    voxel_sizes
        Of the volumes that state it, nm.

    Raises
    ------
    InputError
        For the last reason not to use the net; those before it are logged.
    """
    given = settings["checkpoint"]
    description = _read(source, given["sha256"])
    problems = [
        *misfits(name, description, settings),
        *lift_misfits(name, description, section_settings),
        *voxel_misfits(name, description, voxel_sizes),
    ]
    for problem in problems[:-1]:
        log.error("%s", problem)
    if problems:
        raise problems[-1]
    with atomic_file(checkpoint) as partial:
        shutil.copyfile(source, partial)
    origin = {
        "origin": given["path"] if given["path"] is not None else given["url"],
        "sha256": checksum(checkpoint),
        "kind": description.kind,
    }
    with atomic_file(record) as partial:
        partial.write_text(json.dumps(plain(origin), indent=2) + "\n")
    log.info("net %s of kind %s from %s", name, description.kind, origin["origin"])


def _name_of(kind: str) -> str | None:
    """Return the key in `nets` below which a net of a kind can be used again; None for one of a pair of nets."""
    if KINDS[kind].ndim == 2:
        return "2d"
    if KINDS[kind].source == "2d":
        return "2d_to_3d"
    return "3d" if KINDS[kind].source is None and "affinities" in KINDS[kind].heads else None


def _local_nets(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and block of every net whose checkpoint is named by a path, as far as types are as they should be."""
    nets = config.get("nets")
    for name in ("2d", "2d_to_3d", "3d"):
        net = nets.get(name) if isinstance(nets, dict) else None
        given = net.get("checkpoint") if isinstance(net, dict) else None
        if isinstance(net, dict) and isinstance(given, dict) and isinstance(given.get("path"), str):
            yield name, net


def _read(path: Path, sha256: Any) -> NetDescription:
    """Return what a checkpoint says of its net, all of it checked; a file is read once as long as it stays the same."""
    if not path.is_file():
        raise InputError(
            f"{path} doesn't exist", allowed="a checkpoint.pt that a training wrote", remedy="correct the path"
        )
    stamp = path.stat().st_mtime_ns
    if sha256 is not None and (found := _checksum(path, stamp)) != sha256:
        raise InputError(
            f"{path} has the sha256 {found}",
            allowed=f"{sha256}, as configured",
            remedy="use the file that the checksum is of, or correct `sha256`",
        )
    return _description(path, stamp)


@lru_cache
def _checksum(path: Path, stamp: int) -> str:
    return checksum(path)


@lru_cache
def _description(path: Path, stamp: int) -> NetDescription:
    from sparse2dense.stages.nets import load_net  # its library takes seconds, and only runs that reuse a net need it

    return load_net(path)[1]
