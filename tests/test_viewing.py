"""Nets asked in several views of a volume: exact answers stay exact, and blocks don't show."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.descriptors import descriptor_channels, local_shape_descriptors, section_descriptors
from sparse2dense.ops.unet import UNet
from sparse2dense.ops.views import UNTURNED, affinity_places, descriptor_places, flipped_views
from sparse2dense.stages.answering import answer
from sparse2dense.stages.configuration import load_schema, problems
from sparse2dense.stages.net_kinds import KINDS, NetDescription
from sparse2dense.stages.nets import save_net
from sparse2dense.stages.predicting import predict
from sparse2dense.stages.viewing import ViewedVolume, mean_answer, view_margin, views_of
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.volume import Volume, create_volume, open_volume

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")
SHAPE = (5, 19, 26)
FLAT_OFFSETS = ((-1, 0), (0, -1), (-5, 0), (0, -5), (0, -9), (-2, -3))
DEEP_OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-3, 0, 0), (0, 0, -7), (-1, -2, 0))
EVERYTHING: Any = {"flips": ["z", "y", "x"], "transpose": True}


def description(kind: str) -> NetDescription:
    """A small net of `kind`, pooled by 4 along y and x."""
    flat, deep = (
        (((2, 2), (2, 2)), ((3, 3), (1, 1), (3, 3))),
        (((1, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 1, 1), (1, 3, 3))),
    )
    ndim = KINDS[kind].ndim
    pooling, kernels = flat if ndim == 2 else deep
    offsets: tuple[tuple[int, ...], ...] = FLAT_OFFSETS if ndim == 2 else DEEP_OFFSETS
    read = FLAT_OFFSETS[:4] if "from" in kind else ()
    channels = {"raw": 3 if ndim == 2 else 1, "affinities": len(read), "descriptors": 6}
    outputs = {"affinities": len(offsets), "descriptors": len(descriptor_channels(ndim))}
    architecture = Architecture(
        sum(channels[name] for name in KINDS[kind].inputs),
        {head: outputs[head] for head in KINDS[kind].heads}, 3, 2, pooling, kernels,
    )  # fmt: skip
    sigma = (1.5, 1.5) if ndim == 2 or read else (0.6, 1.5, 1.5)
    return NetDescription(kind, architecture, int(ndim == 2), offsets, read, sigma, None)


class ExactNet:
    """Sees labels instead of an image, and answers what they make of affinities and descriptors."""

    def __init__(self, net: NetDescription) -> None:
        self.net, self.architecture = net, net.architecture

    def parameters(self) -> Iterator[torch.Tensor]:
        return iter([torch.zeros(1)])

    def __call__(self, batch: torch.Tensor, padded: bool) -> dict[str, torch.Tensor]:
        image = batch[0, self.net.adjacent].numpy()
        labels = np.rint(image * 255).astype(np.int64)
        exact: dict[str, NDArray] = {
            "affinities": affinities(labels, self.net.offsets),
            "descriptors": local_shape_descriptors(labels, self.net.sigma),
        }
        inner = tuple(slice(c, n - c) for c, n in zip(self.architecture.context, labels.shape, strict=True))
        values = {head: torch.from_numpy(exact[head][(slice(None), *inner)].copy()) for head in self.architecture.heads}
        return {head: torch.logit(value.double(), eps=1e-6)[None] for head, value in values.items()}


def labels() -> NDArray[np.uint8]:
    """Boxes of many sizes that touch, without background."""
    seeds = np.random.default_rng(3).integers(1, 6, (2, 4, 6)).astype(np.uint8)
    return np.kron(seeds, np.ones((3, 5, 5), np.uint8))[: SHAPE[0], : SHAPE[1], : SHAPE[2]]


def stored(path: Path, values: NDArray, **attributes: Any) -> Volume:
    """An array as a volume of 8 nm."""
    axes = "czyx" if values.ndim == 4 else "zyx"
    volume = create_volume(path, values.shape, "uint8", voxel_size=(8, 8, 8), axes=axes, attributes=attributes)
    volume[...] = values
    return volume


@pytest.mark.parametrize("kind", ["2d_mtlsd", "3d_mtlsd"])
@pytest.mark.parametrize("transpose", [False, True])
def test_flips_of_an_exact_answer_are_exact(tmp_path: Path, kind: str, transpose: bool) -> None:
    """A net that is right in every view is right in the mean, affinities at both ends and descriptors with signs."""
    net = description(kind)
    sources = {"raw": stored(tmp_path / "raw.zarr", labels())}
    asked = partial(answer, cast(UNet, ExactNet(net)), net)
    block = blocks(SHAPE, SHAPE)[0]
    views = views_of(net, ["z", "y", "x"], transpose)
    assert len(views) == (16 if transpose else 8)
    once, often = asked(sources, block), mean_answer([asked], net, sources, block, SHAPE, views)
    for head in KINDS[kind].heads:
        assert often[head].dtype == np.float32
        assert once[head].std() > 0.1
        np.testing.assert_allclose(often[head], once[head], atol=2e-4)


def test_what_a_lifting_net_reads_is_what_the_view_would_give(tmp_path: Path) -> None:
    """Stored 2D predictions, seen in a view, are those of the turned labels."""
    net, given = description("3d_affs_from_2d_mtlsd"), labels()
    flat = [(0, *offset) for offset in net.input_offsets]
    volumes = {
        "affinities": stored(tmp_path / "a.zarr", 255 * affinities(given, flat)),
        "descriptors": stored(tmp_path / "d.zarr", np.rint(255 * section_descriptors(given, (1.5, 1.5)))),
    }
    box = (slice(0, 5), slice(0, 24), slice(0, 24))
    for view in flipped_views([0, 1, 2], True):
        pairs = affinity_places(view, flat, flat, back=False)
        seen = ViewedVolume(volumes["affinities"], view, SHAPE, tuple(place for place in pairs if place)).read(box)
        turned = view.turned(given)
        known = affinities(np.ones(turned.shape, np.uint8), flat) > 0
        sides = tuple(slice(0, min(24, side)) for side in turned.shape)
        every = (slice(None), *sides)
        np.testing.assert_array_equal(seen[every][known[every]], 255 * affinities(turned, flat)[every][known[every]])
        shown = ViewedVolume(volumes["descriptors"], view, SHAPE, tuple(descriptor_places(view, 2, back=False))).read(
            box
        )
        wanted = 255 * section_descriptors(turned, (1.5, 1.5))
        np.testing.assert_allclose(shown[every], wanted[every], atol=1)


@pytest.mark.parametrize(
    ("kind", "tile"), [("2d_mtlsd", (2, 8, 12)), ("3d_affs", (4, 20, 4)), ("3d_affs_from_2d_mtlsd", (2, 8, 12))]
)
def test_blocks_equal_the_whole_in_every_view(tmp_path: Path, kind: str, tile: tuple[int, int, int]) -> None:
    """The mean over views and nets is the same in any cut, at the border of the volume too."""
    net, rng = description(kind), np.random.default_rng(0)
    shapes = {"raw": SHAPE, "affinities": (4, *SHAPE), "descriptors": (6, *SHAPE)}
    sources = {
        name: stored(tmp_path / f"{name}.zarr", rng.integers(0, 256, shapes[name], np.uint8))
        for name in KINDS[kind].inputs
    }
    torch.manual_seed(0)
    asked = [partial(answer, UNet(net.architecture).eval(), net) for _ in range(2)]
    views = views_of(net, **EVERYTHING)[::5]  # as it is, along z and x, along y and turned, along all and turned
    whole = mean_answer(asked, net, sources, blocks(SHAPE, SHAPE)[0], SHAPE, views)
    for block in blocks(SHAPE, tile)[1::4]:
        for head, value in mean_answer(asked, net, sources, block, SHAPE, views).items():
            np.testing.assert_allclose(value, whole[head][(slice(None), *block.write)], atol=1e-5)


def test_a_tiny_volume_is_answered_for(tmp_path: Path) -> None:
    """Where a mirrored view knows no pair at all, the volume as it is still counts."""
    net, shape = description("2d_affs"), (1, 3, 1)
    sources = {"raw": stored(tmp_path / "raw.zarr", np.array([[[9], [200], [77]]], np.uint8))}
    asked = partial(answer, UNet(net.architecture).eval(), net)
    block = blocks(shape, shape)[0]
    often = mean_answer([asked], net, sources, block, shape, views_of(net, ["y"], False))["affinities"]
    once = asked(sources, block)["affinities"]
    assert np.isfinite(often).all()
    np.testing.assert_allclose(often[2], once[2], atol=1e-6)  # steps of 5 along y, of which the view knows none
    assert abs(often[3] - once[3]).max() > 1e-4


def test_a_net_of_single_sections_has_no_flip_along_z() -> None:
    net = description("2d_affs")
    alone = replace(net, adjacent=0)
    assert len(views_of(net, ["z", "y"], False)) == 4
    assert len(views_of(alone, ["z", "y"], False)) == 2
    assert views_of(alone, ["z"], False) == [UNTURNED]
    assert view_margin(alone, [UNTURNED]) == (0, 0, 0)
    assert view_margin(alone, views_of(alone, ["y"], False)) == (0, 5 + 3, 0 + 3)


def test_flips_are_predicted_and_recorded(tmp_path: Path) -> None:
    """Predictions with flips differ from those without, not by blocks, and say in which views they were made."""
    shape = (2, 9, 71)  # two chunks long
    raw = stored(tmp_path / "raw.zarr", np.random.default_rng(0).integers(0, 256, shape, np.uint8)).path
    torch.manual_seed(0)
    net = description("2d_mtlsd")
    save_net(tmp_path / "checkpoint.pt", UNet(net.architecture), net, {})
    found = {}
    for name, how in {
        "once": {"block_shape": (2, 16, 128)},
        "often": {"block_shape": (2, 16, 128), "flips": ["y", "x"]},
        "often_small": {"block_shape": (2, 16, 64), "flips": ["x", "y"]},
    }.items():
        outputs = {head: tmp_path / f"{name}_{head}.zarr" for head in KINDS[net.kind].heads}
        predict({"raw": raw}, tmp_path / "checkpoint.pt", outputs, **cast(Any, how))
        found[name] = {head: open_volume(path) for head, path in outputs.items()}
    settings = {name: heads["affinities"].attributes["provenance"]["settings"] for name, heads in found.items()}
    assert "views" not in settings["once"]
    assert len(settings["often"]["views"]) == 4
    for head in KINDS[net.kind].heads:
        once, often, small = (found[name][head][...].astype(int) for name in found)
        assert abs(once - often).max() > 1
        assert abs(often - small).max() <= 1


def test_nets_of_an_ensemble_are_averaged(tmp_path: Path) -> None:
    """What is kept of two nets is the mean of what each predicts, and both are recorded; others are refused."""
    raw = stored(tmp_path / "raw.zarr", np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)).path
    net = description("3d_affs")
    for seed, name in enumerate(("a", "b")):
        torch.manual_seed(seed)
        save_net(tmp_path / f"{name}.pt", UNet(net.architecture), net, {})
    found = {}
    for names in ("a", "b", "ab"):
        first, *members = (tmp_path / f"{name}.pt" for name in names)
        output = {"affinities": tmp_path / f"{names}.zarr"}
        predict({"raw": raw}, first, output, block_shape=(4, 32, 32), members=members)
        found[names] = open_volume(output["affinities"])
    a, b, both = (found[names][...].astype(float) for names in ("a", "b", "ab"))
    assert abs(a - b).max() > 5
    assert abs((a + b) / 2 - both).max() <= 1
    assert len(found["ab"].attributes["provenance"]["settings"]["members"]) == 1
    assert "members" not in found["a"].attributes["provenance"]["settings"]
    other = replace(net, offsets=((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-2, 0, 0), (0, 0, -7), (-1, -2, 0)))
    save_net(tmp_path / "c.pt", UNet(net.architecture), other, {})
    with pytest.raises(InputError, match=r"c\.pt and .*a\.pt hold nets of different descriptions"):
        predict({"raw": raw}, tmp_path / "a.pt", output, block_shape=(4, 32, 32), members=[tmp_path / "c.pt"])


def refusals(nets: dict[str, Any], **wanted: Any) -> list[str]:
    """Everything that is said against a configuration with these nets and views."""
    given = {
        "volumes": {
            "lab": {
                "role": "annotated",
                "phantom": {"shape": [20, 41, 43]},
                "annotation": {"draw": "sections", "sections": [3, 5], "zero": "unlabelled"},
            }
        },
        "nets": nets,
        "predict": wanted,
    }
    return [str(problem) for problem in problems(given, SCHEMA)]


def test_views_that_a_net_cannot_be_asked_in_are_refused() -> None:
    """Diagonal affinities that another net reads, and windows that differ along exchanged axes."""
    diagonal = {"2d": {"offsets": [[-1, 0], [0, -1], [-3, -3]]}}
    assert refusals(diagonal) == []
    assert refusals({}, **EVERYTHING) == []
    (told,) = refusals(diagonal, flips=["y"])
    assert "`predict.flips` is ['y']" in told
    assert "`nets.2d.offsets` is that of [-3, -3]" in told
    assert refusals({"2d": {**diagonal["2d"]}, "2d_to_3d": {"kind": "3d_affs_from_2d_lsd"}}, flips=["y"]) == []
    (oblong,) = refusals({"3d": {"sigma": [2, 10, 12]}}, transpose=True)
    assert "the descriptors of `nets.3d` have sigma [2, 10, 12]" in oblong
    (uneven,) = refusals({"2d": {"offsets": [[-1, 0], [0, -1], [-9, 0]]}}, transpose=True)
    assert "[-9, 0]" in uneven


def test_a_net_is_not_shown_what_it_cannot_read(tmp_path: Path) -> None:
    """The library refuses such views by itself too."""
    net = description("3d_affs_from_2d_mtlsd")
    read = ((-1, 0), (0, -1), (-5, 0), (-2, -3))
    other = replace(net, input_offsets=read)
    sources = {"affinities": stored(tmp_path / "a.zarr", np.zeros((4, *SHAPE), np.uint8))}
    with pytest.raises(InputError, match=r"affinities of offsets .*-2, -3"):
        mean_answer([], other, sources, blocks(SHAPE, SHAPE)[0], SHAPE, views_of(other, ["y"], False))
