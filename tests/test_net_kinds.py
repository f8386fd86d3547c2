"""Kinds of nets: what each reads and predicts, and that a checkpoint's description says the same."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from sparse2dense.errors import InputError
from sparse2dense.stages.net_kinds import KINDS, NetDescription, describe_net, description_of

FLAT: dict[str, Any] = {
    "adjacent": 2,
    "features": 2,
    "growth": 2,
    "pooling": [[2, 2]],
    "kernels": [[3, 3], [3, 3]],
    "normalization": "batch",
    "offsets": [[-1, 0], [0, -1], [-9, 0], [0, -27]],
    "sigma": [5, 6],
}
DEEP: dict[str, Any] = FLAT | {
    "pooling": [[1, 2, 2]],
    "kernels": [[1, 3, 3], [3, 3, 3]],
    "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-2, 0, 0], [0, -27, 0], [0, 0, -54], [-4, 0, 0]],
    "sigma": [2, 5, 6],
}
# Of every kind: channels of all that it reads, in their order, and of its heads. 7 offsets in 3D, 4 in 2D.
CHANNELS: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "2d_affs": ({"raw": 5}, {"affinities": 4}),
    "2d_lsd": ({"raw": 5}, {"descriptors": 6}),
    "2d_mtlsd": ({"raw": 5}, {"descriptors": 6, "affinities": 4}),
    "3d_affs_from_2d_affs": ({"affinities": 4}, {"affinities": 7}),
    "3d_affs_from_2d_lsd": ({"descriptors": 6}, {"affinities": 7}),
    "3d_affs_from_2d_mtlsd": ({"descriptors": 6, "affinities": 4}, {"affinities": 7}),
    "3d_affs": ({"raw": 1}, {"affinities": 7}),
    "3d_lsd": ({"raw": 1}, {"descriptors": 10}),
    "3d_mtlsd": ({"raw": 1}, {"descriptors": 10, "affinities": 7}),
    "3d_aclsd": ({"descriptors": 10}, {"affinities": 7}),
    "3d_acrlsd": ({"descriptors": 10, "raw": 1}, {"affinities": 7}),
}


def description(kind: str) -> NetDescription:
    """A small net of `kind`; those on stacked 2D predictions have never seen a voxel size."""
    settings = {**(FLAT if kind.startswith("2d") else DEEP), "kind": kind}
    if "from" in kind:
        return describe_net(settings, section_settings=FLAT)
    return describe_net(settings, voxel_size=(40, 8, 8))


@pytest.mark.parametrize("kind", KINDS)
def test_channels_follow_kind_and_offsets(kind: str) -> None:
    """Input and heads have the channels of what is read and predicted; a checkpoint brings back all of it."""
    net = description(kind)
    reads, heads = CHANNELS[kind]
    assert list(net.input_channels.items()) == list(reads.items())
    assert net.architecture.in_channels == sum(reads.values())
    assert net.architecture.heads == heads
    assert net.sigma == ((5, 6) if kind.startswith("2d") or "from" in kind else (2, 5, 6))
    assert description_of(asdict(net)) == net


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_with_other_channels_is_refused(kind: str) -> None:
    """One channel too many, or a head of another net, and both numbers are named."""
    net = description(kind)
    for change in ({"in_channels": net.architecture.in_channels + 1}, {"heads": {"affinities": 3}}):
        wrong = replace(net, architecture=replace(net.architecture, **change))
        with pytest.raises(InputError, match=f"a net of kind {kind} with .* input channels") as raised:
            description_of(asdict(wrong))
        assert f"{sum(CHANNELS[kind][0].values())} and {CHANNELS[kind][1]}" in str(raised.value)
