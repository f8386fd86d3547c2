"""What viewers show of a run: every volume that is there and none that isn't, at its place, from where it is served."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.stages.file_server import FileServer
from sparse2dense.stages.layers import choose_volume, error_places, run_volumes, shown_range, volume_layers
from sparse2dense.stages.napari_layers import add_layers
from sparse2dense.stages.neuroglancer_state import neuroglancer_link, neuroglancer_state
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.viewed_run import CHANNELS, COLOURED, LARGE, NAMES, SHAPE, STATE_NAMES, VOXEL_SIZE, viewed_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return viewed_run(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[FileServer]:
    with FileServer(run) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def address(layer: dict[str, Any]) -> str:
    """Where Neuroglancer reads a layer."""
    return str(layer["source"]["url"])


def test_every_volume_becomes_a_layer_and_nothing_else(run: Path, tmp_path: Path) -> None:
    layers = volume_layers(run / "crop")
    assert {layer.name for layer in layers} == NAMES
    assert len(layers) == len(NAMES)
    assert layers[0].name == "raw"
    assert {layer.name for layer in layers if layer.visible} == {"raw", "bootstrapped segmentation best"}
    kinds = {layer.name: layer.kind for layer in layers}
    assert kinds["raw"] == "image"
    assert {name for name, kind in kinds.items() if kind == "channels"} == {name.replace("/", " ") for name in CHANNELS}
    smaller = tmp_path / "run"
    shutil.copytree(run, smaller)
    shutil.rmtree(smaller / "crop/bootstrapped")
    left = volume_layers(smaller / "crop")
    assert {layer.name for layer in left} == {name for name in NAMES if not name.startswith("bootstrapped")}
    assert [layer.name for layer in left if layer.visible] == ["raw", "pseudo segmentation best"]


def test_later_rounds_are_shown_first_and_the_best_before_the_chosen(run: Path, tmp_path: Path) -> None:
    made = tmp_path / "crop"
    source = run / "crop/pseudo/segmentation/best.zarr"
    shown = []
    for store in ("baseline/segmentation/best", "pseudo/segmentation/chosen", "bootstrapped/segmentation/best",
                  "bootstrapped_10/segmentation/chosen", "bootstrapped_9/segmentation/best",
                  "bootstrapped_10/segmentation/best"):  # fmt: skip
        shutil.copytree(source, made / f"{store}.zarr")
        shown += [layer.name for layer in volume_layers(made) if layer.visible]
    assert shown == [
        "baseline segmentation best",
        "pseudo segmentation chosen",
        "bootstrapped segmentation best",
        "bootstrapped_10 segmentation chosen",
        "bootstrapped_10 segmentation chosen",
        "bootstrapped_10 segmentation best",
    ]


def test_the_volume_with_most_to_see_is_shown(run: Path, tmp_path: Path) -> None:
    assert run_volumes(run) == ["crop", "rest"]
    assert choose_volume(run, None) == "crop"
    assert choose_volume(run, "rest") == "rest"
    with pytest.raises(InputError, match=r"no volume crap(.|\n)*crop, rest"):
        choose_volume(run, "crap")
    with pytest.raises(InputError, match="holds no volumes"):
        choose_volume(tmp_path, None)


def test_images_are_shown_in_the_range_of_their_values(run: Path, tmp_path: Path) -> None:
    assert shown_range(open_volume(run / "crop/raw.zarr")) == (0.0, 255.0)
    middle = open_volume(run / "rest/raw.zarr")[2]
    assert shown_range(open_volume(run / "rest/raw.zarr")) == (middle.min(), middle.max())
    for dtype, expected in ((np.float32, (0.0, 1.0)), (np.uint16, (0.0, 1.0))):
        empty = create_volume(tmp_path / np.dtype(dtype).name, (1, 1, 1), dtype, voxel_size=(1, 1, 1))
        assert shown_range(empty) == expected


def test_every_layer_can_be_read_where_the_state_says(run: Path, server: FileServer) -> None:
    """Metadata and a stored chunk or shard of every volume are answered."""
    state = neuroglancer_state(run, "crop", server.url)
    volumes = [layer for layer in state["layers"] if layer["type"] != "annotation"]
    assert {layer["name"] for layer in volumes} == STATE_NAMES
    for layer in volumes:
        folder, suffix = address(layer).split("|")
        assert suffix == "zarr3:"
        store = run / folder.removeprefix(f"{server.url}/")
        stored = next(file for file in sorted(store.glob("0/c/**/*")) if file.is_file())
        for name in ("zarr.json", "0/zarr.json", stored.relative_to(store).as_posix()):
            with urllib.request.urlopen(folder + name, timeout=20) as answer:
                assert answer.status == 200
                assert answer.read() == (store / name).read_bytes()


def test_places_are_in_voxels_of_the_image(run: Path) -> None:
    state = neuroglancer_state(run, "crop", "http://127.0.0.1:1")
    assert state["dimensions"] == {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [4e-8, "m"]}
    assert state["position"] == [8 / 8 + 13, 16 / 8 + 9, 80 / 40 + 2]
    errors = state["layers"][-1]
    assert errors["name"] == "pseudo worst errors"
    assert errors["annotations"][0]["pointA"] == [1.5, 2.5, 2.5]  # the corner, half a voxel before the middle
    assert errors["annotations"][0]["pointB"] == [5.5, 4.5, 4.5]


def test_colours_are_the_nearest_neighbours(run: Path) -> None:
    """Red z, green y, blue x, as in the figures, wherever these channels stand; of other channels the first."""
    layers = {layer["name"]: layer for layer in neuroglancer_state(run, "crop", "http://x")["layers"]}
    for name, channel, light in (("red", 3, "1, 0, 0"), ("green", 2, "0, 1, 0"), ("blue", 0, "0, 0, 1")):
        layer = layers[f"{COLOURED} {name}"]
        assert (layer["localDimensions"], layer["localPosition"]) == ({"c'": [1, ""]}, [channel])
        assert f"vec3({light})" in layer["shader"]
        assert layer["blend"] == "additive"
    assert layers["pseudo stacked_affinities"]["localPosition"] == [0]
    assert "localPosition" not in layers["raw"]


def test_worst_errors_are_few_and_keep_their_ids(run: Path) -> None:
    places = error_places(run / "crop")
    assert list(places) == ["pseudo"]
    assert len(places["pseudo"]) == 10
    assert places["pseudo"][0].words == f"merge of {LARGE} at 0.58: 0.25 bits"
    assert (places["pseudo"][0].begin, places["pseudo"][0].end) == ((120.0, 24.0, 16.0), (200.0, 40.0, 48.0))
    assert error_places(run / "rest") == {}


def test_the_link_holds_the_state(run: Path) -> None:
    """What stands behind `#!` is the state, in characters that no terminal or mail breaks."""
    state = neuroglancer_state(run, "crop", "https://data.example.org/a b/run/")
    page, _, fragment = neuroglancer_link("https://viewer.example.org/", state).partition("#!")
    assert page == "https://viewer.example.org/"
    assert json.loads(unquote(fragment)) == state
    assert not set(fragment) & set(" \"'<>{}|\\^`#&\n")
    assert address(state["layers"][0]) == "https://data.example.org/a b/run/crop/raw.zarr/|zarr3:"


class Viewer:
    """Records what napari would be given."""

    def __init__(self) -> None:
        self.layers: dict[str, tuple[str, Any, dict[str, Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        def add(data: Any, **facts: Any) -> None:
            self.layers[facts.pop("name")] = (name, data, facts)

        return add


def test_napari_gets_arrays_on_disk_at_their_place(run: Path) -> None:
    viewer = Viewer()
    add_layers(viewer, run / "crop")
    assert set(viewer.layers) == NAMES | {"pseudo worst errors"}
    for name in NAMES:
        method, data, facts = viewer.layers[name]
        channels = name.replace(" ", "/") in CHANNELS
        assert method == ("add_image" if channels or name == "raw" else "add_labels")
        assert data.read_only, "napari writes what is painted on labels"
        assert not isinstance(data, np.ndarray), "a volume larger than memory"
        assert data.shape[-3:] == SHAPE
        assert facts["scale"] == ((1.0, *VOXEL_SIZE) if channels else VOXEL_SIZE)
        assert facts["translate"][-3:] == (100.0, 20.0, 12.0)  # the middle of the first voxel
        assert len(facts["scale"]) == data.ndim
    assert viewer.layers["raw"][2]["contrast_limits"] == (0.0, 255.0)
    method, points, facts = viewer.layers["pseudo worst errors"]
    assert method == "add_points"
    assert points[0] == [4.0, 4.0, 4.0]
    assert facts["scale"] == VOXEL_SIZE
    assert len(facts["features"]["error"]) == len(points) == 10
