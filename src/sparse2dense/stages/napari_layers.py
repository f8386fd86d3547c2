"""A volume of a run in napari: every volume as a layer that reads what is looked at, in nm."""

from pathlib import Path
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.stages.layers import Layer, error_places, shown_range, volume_layers

__all__ = ["add_layers", "open_napari"]


def open_napari(results: Path, volume: str) -> None:
    """Show a volume of a run in napari until its window is closed; InputError where napari isn't installed."""
    try:
        import napari
    except ImportError as error:
        raise InputError(
            "napari is not installed",
            allowed="an environment with napari, or Neuroglancer, which needs a browser only",
            remedy="pip install 'napari[all]', or leave --viewer out",
        ) from error
    viewer = napari.Viewer(title=f"{results.name} {volume}")
    add_layers(viewer, results / volume)
    napari.run()


def add_layers(viewer: Any, place: Path) -> None:
    """Add to a napari viewer all that can be shown of the volume in the folder `place`.

    Layers hold arrays on disk, opened for reading, of which napari reads the plane that it shows. Those with channels
    have one axis more in front, and three dimensions are shown under it. Worst errors are points amid their boxes.
    """
    layers = volume_layers(place)
    for layer in layers:
        _add(viewer, layer)
    voxel = layers[0].volume.voxel_size
    for track, places in error_places(place).items():
        viewer.add_points(
            [
                [(low + high) / 2 / side for low, high, side in zip(one.begin, one.end, voxel, strict=True)]
                for one in places
            ],
            name=f"{track} worst errors",
            features={"error": [one.words for one in places]},
            text="error",
            size=10,
            scale=voxel,  # not in nm: sliders go by the smallest step of all layers
            visible=False,
        )


def _add(viewer: Any, layer: Layer) -> None:
    volume = layer.volume
    channels = len(volume.shape) - len(volume.spatial_shape)
    facts = {
        "name": layer.name,
        "visible": layer.visible,
        "scale": (1.0,) * channels + volume.voxel_size,
        # napari takes it for the middle of the first voxel
        "translate": (0.0,) * channels
        + tuple(offset + size / 2 for offset, size in zip(volume.offset, volume.voxel_size, strict=True)),
    }
    if layer.kind == "labels":
        viewer.add_labels(volume.array, opacity=0.5, **facts)
    else:
        # given, because napari would read much of the array to find them
        viewer.add_image(volume.array, contrast_limits=shown_range(volume), **facts)
