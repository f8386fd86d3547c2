"""The benchmarks of prediction and of waiting compare the same work, and fail where a limit isn't kept."""

from pathlib import Path

import pytest
import torch

from benchmarks import prediction, waiting
from benchmarks._ways import Taken
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.predicting import predict
from tests.test_predicting import checkpoint


@pytest.mark.parametrize(("seconds", "kept"), [(1.1, True), (1.12, False)])
def test_prediction_has_nine_tenths_of_the_voxels_per_second(
    seconds: float, kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prediction.report("3D", 10**6, Taken(1.0, 2.0), Taken(seconds, 2.0)) == kept
    printed = capsys.readouterr().out
    assert f"{1 / seconds:8.3f} Mvoxel/s" in printed and ("NOT 0.9" in printed) != kept


@pytest.mark.parametrize(("waited", "kept"), [(4.9, True), (5.1, False)])
def test_waiting_is_a_share_of_steps(waited: float, kept: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert waiting.report("2d", 100 - waited, waited, 50) == kept
    assert f"2.000 s per step,  {waited:.2f} % of it waiting" in (printed := capsys.readouterr().out)
    assert ("NOT within 5 %" in printed) != kept


@pytest.mark.parametrize("kind", ["2d_mtlsd", "3d_affs"])
def test_the_net_alone_has_the_passes_of_prediction(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many, of the same shapes."""
    monkeypatch.setattr("sparse2dense.volumes.grid.CHUNK_SIDE", 8)
    prediction.write_raw(tmp_path / "raw.zarr", (6, 40, 32))
    given: list[tuple[int, ...]] = []
    forward = UNet.forward

    def noting(net: UNet, x: torch.Tensor, padded: bool = True) -> dict[str, torch.Tensor]:
        given.append(tuple(x.shape))
        return forward(net, x, padded)

    monkeypatch.setattr(UNet, "forward", noting)
    path, heads = checkpoint(tmp_path, kind), ("affinities", "descriptors")[: 2 if kind == "2d_mtlsd" else 1]
    outputs = {head: tmp_path / f"{head}.zarr" for head in heads}
    predict({"raw": tmp_path / "raw.zarr"}, path, outputs, block_shape=(8, 16, 16))
    predicting, given = given, []
    prediction.net_alone(tmp_path / "raw.zarr", path, (8, 16, 16))()
    assert sorted(given) == sorted(predicting) and len(given) == (6 * 6 if kind == "2d_mtlsd" else 6)
