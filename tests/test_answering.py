"""What a net answers for a block: the same as bytes, and in the arithmetic that was chosen once for all of its jobs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparse2dense.ops.unet import UNet
from sparse2dense.stages import answering, predicting
from sparse2dense.stages.answering import answer, choose_precision
from sparse2dense.stages.predicting import predict
from sparse2dense.volumes.blockwise import BlockFailed
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.test_predicting import SHAPE, checkpoint, description

TILE = (4, 16, 24)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A volume of odd sides."""
    volume = create_volume(tmp_path / "raw.zarr", SHAPE, "uint8", voxel_size=(8, 8, 8))
    volume[...] = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    return volume.path


def net_of(kind: str, steepness: float = 1.0) -> UNet:
    """An untrained net, the logits of which are so many times as large."""
    torch.manual_seed(0)
    net = UNet(description(kind).architecture).eval()
    for head in net.heads.values():
        for parameter in head.parameters():
            parameter.data *= steepness
    return net


@pytest.mark.parametrize("kind", ["2d_mtlsd", "3d_affs"])
@pytest.mark.parametrize("index", [0, -1])
def test_bytes_are_the_rounded_answer(raw: Path, kind: str, index: int) -> None:
    """In a block at the end of the volume too, where the net gives more than is wanted."""
    sources, block = {"raw": open_volume(raw)}, blocks(SHAPE, TILE)[index]
    exact, found = (
        answer(net_of(kind), description(kind), sources, block, dtype=dtype) for dtype in (torch.float32, torch.uint8)
    )
    for head, values in exact.items():
        assert found[head].dtype == np.uint8 and len(np.unique(found[head])) > 10
        np.testing.assert_array_equal(found[head], np.rint(255 * values))


@pytest.mark.parametrize("kind", ["2d_mtlsd", "3d_affs"])
@pytest.mark.parametrize(
    ("steepness", "faster", "chosen"), [(0.01, np.inf, "bfloat16"), (0.01, 0.0, "float32"), (1000, np.inf, "float32")]
)
def test_bfloat16_must_be_near_enough_and_faster(
    raw: Path, kind: str, steepness: float, faster: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where logits are tiny all arithmetics agree; where they are huge, a rounding decides."""
    monkeypatch.setattr(answering, "FASTER", faster)
    net, sources = net_of(kind, steepness), {"raw": open_volume(raw)}
    assert choose_precision(net, description(kind), sources, SHAPE, (6, 40, 32)) == chosen


def predicted(tmp_path: Path, raw: Path, name: str, **how: Any) -> np.ndarray[Any, Any]:
    """What a 3D net predicts, from a fresh or a half-made output."""
    net = tmp_path / "3d_affs/checkpoint.pt"
    path = net if net.exists() else checkpoint(tmp_path, "3d_affs")
    predict({"raw": raw}, path, {"affinities": tmp_path / name}, block_shape=TILE, **how)
    return open_volume(tmp_path / name)[...].astype(int) if (tmp_path / name).exists() else np.zeros(0)


def test_bfloat16_is_another_arithmetic(tmp_path: Path, raw: Path) -> None:
    exact, rough = (predicted(tmp_path, raw, f"{how}.zarr", precision=how) for how in ("float32", "bfloat16"))
    assert 0 < abs(exact - rough).max() < 64
    assert open_volume(tmp_path / "bfloat16.zarr").attributes["precision"] == "bfloat16"


def choosing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every choice be bfloat16; the list grows with each."""
    made: list[str] = []

    def choose(*_: Any) -> str:
        made.append("bfloat16")
        return made[-1]

    monkeypatch.setattr(predicting, "choose_precision", choose)
    return made


def failing_once(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but that its second call fails."""
    calls = []

    def work(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("disk full")
        return original(*arguments, **options)

    return work


@pytest.mark.parametrize("way", ["killed", "parts"])
def test_the_choice_is_made_once(tmp_path: Path, raw: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that goes on with another's blocks, or shares them, uses what was chosen for the first of them."""
    monkeypatch.setattr("sparse2dense.volumes.grid.CHUNK_SIDE", 8)
    made = choosing(monkeypatch)
    wanted = predicted(tmp_path, raw, "wanted.zarr", precision="bfloat16")
    assert made == []
    if way == "killed":
        with monkeypatch.context() as patch, pytest.raises(BlockFailed, match="disk full"):
            patch.setattr(predicting, "answer", failing_once(answer))
            predicted(tmp_path, raw, "found.zarr", precision="auto")
    else:
        for part in ((1, 2), (0, 2)):
            predicted(tmp_path, raw, "found.zarr", precision="auto", part=part)
    found = predicted(tmp_path, raw, "found.zarr", precision="auto")
    assert made == ["bfloat16"]
    assert open_volume(tmp_path / "found.zarr").attributes["precision"] == "bfloat16"
    np.testing.assert_array_equal(found, wanted)
