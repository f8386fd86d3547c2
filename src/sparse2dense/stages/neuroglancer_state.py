"""The state of Neuroglancer that shows a volume of a run, as JSON and as a link.

Written for Neuroglancer 2.40 and newer, where the address of a volume ends with its format: `<address>/|zarr3:`. It
takes the place that OME-Zarr states for the middle of the first voxel, so a whole number of voxels is the middle of
one.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sparse2dense.stages.colours import DISAGREEMENT_COLOURS
from sparse2dense.stages.figures import nearest_channels
from sparse2dense.stages.layers import ErrorPlace, Layer, error_places, shown_range, volume_layers
from sparse2dense.volumes.volume import Volume

__all__ = ["STATE", "neuroglancer_link", "neuroglancer_state"]

STATE = "neuroglancer.json"
"""Name of the file of a volume's state."""
SCREEN = 500  # pixels of a panel, about
IMAGE_SHADER = "#uicontrol invlerp normalized\nvoid main() { emitGrayscale(normalized()); }\n"
# Sliders choose the channel of each colour: affinities have one per offset.
CHANNEL_SHADER = """{sliders}
void main() {{ emitRGB(vec3({values})); }}
"""
SLIDER = "#uicontrol int {colour} slider(min=0, max={last}, default={channel}, step=1)"

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
    described = [_layer(layer, f"{base_url.rstrip('/')}/{_path(layer, results)}/|zarr3:") for layer in layers]
    errors = [_errors(track, places, image) for track, places in error_places(place).items()]
    middle = [
        low / size + count // 2
        for (low, _), size, count in zip(image.extent, image.voxel_size, image.shape, strict=True)
    ]
    return {
        "dimensions": _dimensions(image, "xyz"),
        "position": middle[::-1],
        # a volume that fills the panel, or voxels as large as pixels: zoomed out further, all of a large one is read
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


def _dimensions(volume: Volume, names: str) -> dict[str, list[Any]]:
    """Return size, in metres, and unit of each axis; the channels of a voxel are known together (`^`)."""
    sizes = dict(zip("zyx", volume.voxel_size, strict=True))
    return {f"{name}^" if name == "c" else name: [1, ""] if name == "c" else [sizes[name] / 1e9, "m"] for name in names}


def _layer(layer: Layer, url: str) -> State:
    """Return what Neuroglancer is told of a volume."""
    source: State = {"url": url}
    facts: State = {"name": layer.name, "visible": layer.visible, "source": source}
    if layer.kind == "labels":
        return {**facts, "type": "segmentation", "tab": "segments", "selectedAlpha": 0.35}
    low_high = list(shown_range(layer.volume))
    facts |= {"type": "image", "tab": "rendering"}
    if layer.kind == "image":
        return {**facts, "shader": IMAGE_SHADER, "shaderControls": {"normalized": {"range": low_high}}}
    # OME-Zarr would make the channel an axis with a slider; here it is what colours are made of
    source["transform"] = {"outputDimensions": _dimensions(layer.volume, layer.volume.axes)}
    return {**facts, "shader": _colours(layer.volume), "opacity": 0.5}


def _colours(volume: Volume) -> str:
    """Return the shader that shows three channels: of affinities, z in red, y in green and x in blue."""
    channels = nearest_channels(volume)
    sliders = [
        SLIDER.format(colour=colour, last=volume.shape[0] - 1, channel=channel)
        for colour, channel in zip(("red", "green", "blue"), channels, strict=False)
    ]
    values = [f"toNormalized(getDataValue({colour}))" for colour in ("red", "green", "blue")[: len(channels)]]
    return CHANNEL_SHADER.format(sliders="\n".join(sliders), values=", ".join(values + ["0.0"] * (3 - len(channels))))


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
        "source": {"url": "local://annotations", "transform": {"outputDimensions": _dimensions(image, "xyz")}},
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
