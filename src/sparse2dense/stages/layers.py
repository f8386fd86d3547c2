"""What a viewer can show of a run: the volumes that lie in its folder, and the places of the worst errors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from sparse2dense.errors import InputError
from sparse2dense.stages.error_tables import read_errors
from sparse2dense.stages.rounds import round_of
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = [
    "ErrorPlace",
    "Kind",
    "Layer",
    "choose_volume",
    "error_places",
    "run_volumes",
    "shown_range",
    "volume_layers",
]

Kind = Literal["image", "channels", "labels"]
PLACES = ("*.zarr", "*/*.zarr", "*/segmentation/*.zarr", "*/errors/*.zarr")
"""Where volumes lie in the folder of a volume of the run."""
WORST = 10
SAMPLE = 512


@dataclass(frozen=True)
class Layer:
    """A volume of a run, as a viewer shows it.

    Parameters
    ----------
    name
        Its place in words, `pseudo segmentation best`.
    kind
        `image`; `channels`, of which three make a colour; `labels`: ids, codes and masks.
    volume
        What is shown.
    visible
        Whether it is shown at first.
    """

    name: str
    kind: Kind
    volume: Volume
    visible: bool


@dataclass(frozen=True)
class ErrorPlace:
    """One of the worst splits or merges of a track: what it is, in words, and its box (z, y, x) in nm."""

    words: str
    begin: tuple[float, ...]
    end: tuple[float, ...]


def run_volumes(results: Path) -> list[str]:
    """Return the names of the volumes of a run whose image is there; InputError where there is none."""
    names = sorted(image.parent.name for image in results.glob("*/raw.zarr"))
    if not names:
        raise InputError(
            f"{results} holds no volumes",
            allowed="the folder of a run, results/<run>, once its images are imported",
            remedy="name another folder, or run `snakemake prepare` first",
        )
    return names


def choose_volume(results: Path, asked: str | None) -> str:
    """Return the volume to show: the one asked for, else the one of which most can be shown; InputError if unknown."""
    names = run_volumes(results)
    if asked is None:
        return max(names, key=lambda name: len(_stores(results / name)))  # the first of several
    if asked not in names:
        raise InputError(
            f"{results} holds no volume {asked}", allowed=", ".join(names), remedy="name one of these, or none"
        )
    return asked


def volume_layers(place: Path) -> list[Layer]:
    """Return all that can be shown of the volume in the folder `place`, its image first.

    At first the image is visible, and the best segmentation, or the chosen one, of the last round.
    """
    stores = sorted(_stores(place), key=lambda store: (store.name != "raw.zarr", len(store.parts), store))
    shown = {place / "raw.zarr", _last_segmentation(stores)}
    layers = []
    for store in stores:
        volume = open_volume(store)
        kind: Kind = "channels" if "c" in volume.axes else "image" if store.name == "raw.zarr" else "labels"
        name = " ".join(store.relative_to(place).with_suffix("").parts)
        layers.append(Layer(name, kind, volume, store in shown))
    return layers


def _stores(place: Path) -> list[Path]:
    """Return the volumes in the folder of a volume; painted sections are no volumes of their own."""
    return [store for pattern in PLACES for store in place.glob(pattern) if store.parent.name != "sections"]


def _last_segmentation(stores: Sequence[Path]) -> Path | None:
    """Return the segmentation of the last round, or of a track beside them: the best one, else the chosen one."""
    found = [store for store in stores if store.parent.name == "segmentation" and store.stem in ("best", "chosen")]
    return max(found, default=None, key=_rank)


def _rank(segmentation: Path) -> tuple[int, bool]:
    number = round_of(segmentation.parent.parent.name)
    return (-1 if number is None else number, segmentation.stem == "best")


def error_places(place: Path, count: int = WORST) -> Mapping[str, Sequence[ErrorPlace]]:
    """Return by track where the worst splits and merges are, at most `count` of each, as `errors.csv` names them."""
    found = {}
    for table in sorted(place.glob("*/errors.csv")):
        rows = read_errors(table)
        found[table.parent.name] = list(_places(rows.groupby("kind", sort=False).head(count)))
    return {track: places for track, places in found.items() if places}


def _places(rows: pd.DataFrame) -> Iterator[ErrorPlace]:
    for row in rows.to_dict("records"):
        words = f"{row['kind']} of {row['label']} at {row['threshold']}: {row['bits']:.3g} bits"
        begin, end = (tuple(float(row[f"{side}_{axis}_nm"]) for axis in "zyx") for side in ("begin", "end"))
        yield ErrorPlace(words, begin, end)


def shown_range(volume: Volume) -> tuple[float, float]:
    """Return the values that are shown black and white.

    Whatever uint8 holds, 0 to 1 of floats, and of larger integers, which rarely fill their type, what the middle of the
    middle section holds.
    """
    if volume.dtype == np.uint8:
        return 0.0, 255.0
    if volume.dtype.kind == "f":
        return 0.0, 1.0
    depth, *plane = volume.spatial_shape
    middle = tuple(slice(max(0, (side - SAMPLE) // 2), (side + SAMPLE) // 2) for side in plane)
    sample = volume[(..., depth // 2, *middle)]
    low, high = float(sample.min()), float(sample.max())
    return low, max(high, low + 1)
