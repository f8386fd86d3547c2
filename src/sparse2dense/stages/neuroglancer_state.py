"""The state of Neuroglancer that shows a volume of a run, as JSON and as a link.

Written for Neuroglancer 2.40 and newer, where the address of a volume ends with its format: `<address>/|zarr3:`. It
takes the place that OME-Zarr states for the middle of the first voxel, so a whole number of voxels is the middle of
one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sparse2dense.stages.colours import DISAGREEMENT_COLOURS
from sparse2dense.stages.layers import ErrorPlace, Layer, error_places, shown_range, volume_layers
from sparse2dense.volumes.volume import Volume

__all__ = ["STATE", "neuroglancer_link", "neuroglancer_state"]

STATE = "neuroglancer.json"
"""Name of the file of a volume's state."""
SCREEN = 500  # pixels of a panel, about
IMAGE_SHADER = "#uicontrol invlerp normalized\nvoid main() { emitGrayscale(normalized()); }\n"
COLOUR_SHADER = "void main() {{ emitRGB({colour} * toNormalized(getDataValue())); }}\n"
COLOURS = {"red": "vec3(1, 0, 0)", "green": "vec3(0, 1, 0)", "blue": "vec3(0, 0, 1)"}

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))

State = dict[str, Any]


def neuroglancer_state(results: Path, volume: str, base_url: str) -> State:
    """Return the state that shows all there is of a volume.

    Parameters
    ----------
    results, volume
        Folder of a run, and the name of one of its volumes.
    base_url
        Where the folder `results` is served.

    Returns
    -------
    Layers in the order of `layers.volume_layers`, then boxes around the worst errors of each track; x, y, z in voxels
    of the image, whose middle is shown.
    """
    place = results / volume
    layers = volume_layers(place)
    image = layers[0].volume
    described = [
        state for layer in layers for state in _layers(layer, f"{base_url.rstrip('/')}/{_path(layer, results)}/|zarr3:")
    ]
    errors = [_errors(track, places, image) for track, places in error_places(place).items()]
    middle = [
        low / size + count // 2
        for (low, _), size, count in zip(image.extent, image.voxel_size, image.shape, strict=True)
    ]
    return {
        "dimensions": _dimensions(image),
        "position": middle[::-1],
        # a volume that fills the panel, or voxels as large as pixels: zoomed out further, all of a large one is read
        "crossSectionBackgroundColor": "#000000",
        "crossSectionScale": min(1.0, max(image.shape) / SCREEN),
        "projectionScale": max(image.shape) * 2,
        "layers": described + errors,
        "selectedLayer": {"visible": True, "layer": next(layer.name for layer in reversed(layers) if layer.visible)},
        "layout": "4panel",
    }


def neuroglancer_link(client: str, state: Mapping[str, Any]) -> str:
    """Return the address at which a Neuroglancer at `client` shows `state`."""
    return f"{client}#!{quote(json.dumps(state, separators=(',', ':')), safe='')}"


def _path(layer: Layer, results: Path) -> str:
    return quote(layer.volume.path.relative_to(results).as_posix())


def _dimensions(image: Volume) -> dict[str, list[Any]]:
    """Return size, in metres, and unit of each axis."""
    return {axis: [size / 1e9, "m"] for axis, size in zip("xyz", image.voxel_size[::-1], strict=True)}


def _layers(layer: Layer, url: str) -> Iterator[State]:
    """Yield what Neuroglancer is told of a volume.

    Affinities are three layers whose light adds up, because a shader sees several channels only of chunks that hold all
    of them, and ours hold one. Of other channels one is shown, which a slider chooses.
    """
    facts: State = {"name": layer.name, "visible": layer.visible, "source": {"url": url}}
    if layer.kind == "labels":
        yield {**facts, "type": "segmentation", "tab": "segments", "selectedAlpha": 0.35}
        return
    facts |= {"type": "image", "tab": "rendering"}
    if layer.kind == "channels" and (channels := _nearest(layer.volume)):
        for (name, colour), channel in zip(COLOURS.items(), channels, strict=True):
            shader = {"shader": COLOUR_SHADER.format(colour=colour), "blend": "additive", "opacity": 1}
            yield {**facts, "name": f"{layer.name} {name}", **shader, **_channel(channel)}
        return
    shown = {"shader": IMAGE_SHADER, "shaderControls": {"normalized": {"range": list(shown_range(layer.volume))}}}
    yield {**facts, **shown, **(_channel(0) if layer.kind == "channels" else {})}


def _channel(number: int) -> State:
    """Return the place of a channel on the axis that Neuroglancer makes of OME-Zarr's, which is a layer's own (`'`)."""
    return {"localDimensions": {"c'": [1, ""]}, "localPosition": [number]}


def _nearest(volume: Volume) -> list[int]:
    """Return the channels of the nearest neighbours in z, y, x; none where they aren't all there."""
    offsets = [tuple(offset) for offset in volume.attributes.get("offsets") or []]
    return [offsets.index(offset) for offset in NEAREST] if set(NEAREST) <= set(offsets) else []


def _errors(track: str, places: Sequence[ErrorPlace], image: Volume) -> State:
    """Return a layer with a box around each of the worst errors of a track."""

    def voxels(place: Sequence[float]) -> list[float]:
        """Return x, y, z of the corner of a voxel."""
        return [value / size - 0.5 for value, size in zip(place, image.voxel_size, strict=True)][::-1]

    return {
        "name": f"{track} worst errors",
        "visible": False,
        "type": "annotation",
        "tab": "annotations",
        "annotationColor": DISAGREEMENT_COLOURS["missing"],
        "source": {"url": "local://annotations", "transform": {"outputDimensions": _dimensions(image)}},
        "annotations": [
            {
                "type": "axis_aligned_bounding_box",
                "id": str(number),
                "description": place.words,
                "pointA": voxels(place.begin),
                "pointB": voxels(place.end),
            }
            for number, place in enumerate(places)
        ],
    }
