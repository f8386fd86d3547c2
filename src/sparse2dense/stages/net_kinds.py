"""What a net is, as data: its kind, architecture, inputs and outputs; it needs no library for nets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.descriptors import descriptor_channels

__all__ = [
    "KINDS", "SCALE_TOLERANCE", "Kind", "NetDescription", "describe_net", "description_of", "scale_problems",
    "settings_of",
]  # fmt: skip


SCALE_TOLERANCE = 0.25
"""How far voxels may differ in size from those a net was trained on, relative to these."""


@dataclass(frozen=True)
class Kind:
    """A kind of net: its number of axes, what it reads and what it predicts.

    Descriptors and affinities that it reads are predictions of another net, whose key in `nets` is `source`. With the
    descriptors of `3d_lsd` it is the second net of auto-context (Sheridan et al., Nature Methods 2023).
    """

    ndim: int
    inputs: tuple[str, ...]
    heads: tuple[str, ...]
    source: str | None = None

    @property
    def described(self) -> int:
        """Number of axes of the predictions that it reads."""
        return 2 if self.source == "2d" else 3


KINDS = {
    "2d_affs": Kind(2, ("raw",), ("affinities",)),
    "2d_lsd": Kind(2, ("raw",), ("descriptors",)),
    "2d_mtlsd": Kind(2, ("raw",), ("descriptors", "affinities")),
    "3d_affs_from_2d_affs": Kind(3, ("affinities",), ("affinities",), "2d"),
    "3d_affs_from_2d_lsd": Kind(3, ("descriptors",), ("affinities",), "2d"),
    "3d_affs_from_2d_mtlsd": Kind(3, ("descriptors", "affinities"), ("affinities",), "2d"),
    "3d_affs": Kind(3, ("raw",), ("affinities",)),
    "3d_lsd": Kind(3, ("raw",), ("descriptors",)),
    "3d_mtlsd": Kind(3, ("raw",), ("descriptors", "affinities")),
    "3d_aclsd": Kind(3, ("descriptors",), ("affinities",), "3d_lsd"),
    "3d_acrlsd": Kind(3, ("descriptors", "raw"), ("affinities",), "3d_lsd"),
}


@dataclass(frozen=True)
class NetDescription:
    """Everything a reader of a checkpoint needs to use the net.

    Parameters
    ----------
    kind
        A key of `KINDS`.
    adjacent
        Sections on either side of the predicted one that a 2D net sees.
    offsets
        Of the affinities it predicts, in voxels.
    input_offsets
        Of the 2D affinities that a 2D-to-3D net reads, in voxels; empty for other nets.
    sigma
        Standard deviation of the Gaussian of the descriptors it predicts or reads, in voxels per axis.
    voxel_size
        Of the data it was trained on, nm (z, y, x); None for a net trained on synthetic labels.
    """

    kind: str
    architecture: Architecture
    adjacent: int
    offsets: tuple[tuple[int, ...], ...]
    input_offsets: tuple[tuple[int, ...], ...]
    sigma: tuple[float, ...]
    voxel_size: tuple[float, ...] | None

    @property
    def input_channels(self) -> dict[str, int]:
        """Channels of everything the net reads, by name, in their order."""
        return _input_channels(KINDS[self.kind], self.adjacent, self.input_offsets)

    def fits_voxels(self, voxel_size: Sequence[float]) -> bool:
        """Whether the net was trained on voxels of about this size, nm (z, y, x), or sees no image at all."""
        return self.voxel_size is None or _of_one_scale(voxel_size, self.voxel_size)


def scale_problems(voxel_sizes: Mapping[str, Sequence[float]]) -> list[InputError]:
    """The volumes, by name, whose voxels (nm, z, y, x) are too unlike those of the first for one net to learn from."""
    (first, size), *others = voxel_sizes.items()
    return [
        InputError(
            f"volume {name} has voxels of {tuple(given)} nm, but volume {first} of {tuple(size)} nm",
            allowed=f"within a quarter of those of {first}, the first volume that nets learn from",
            remedy="resample one of them, or give each its own run",
        )
        for name, given in others
        if not _of_one_scale(given, size)
    ]


def _of_one_scale(voxel_size: Sequence[float], trained: Sequence[float]) -> bool:
    return all(abs(a - b) <= SCALE_TOLERANCE * b for a, b in zip(voxel_size, trained, strict=True))


def describe_net(
    settings: Mapping[str, Any],
    *,
    section_settings: Mapping[str, Any] | None = None,
    voxel_size: Sequence[float] | None = None,
) -> NetDescription:
    """The description of the net that `settings` (a block of `nets` in the configuration) ask for.

    `section_settings` are those of the 2D net whose predictions a 2D-to-3D net reads.
    """
    kind = KINDS[settings["kind"]]
    offsets = tuple(tuple(offset) for offset in settings["offsets"])
    source = section_settings if section_settings is not None else settings
    input_offsets = tuple(tuple(offset) for offset in source["offsets"]) if "affinities" in kind.inputs else ()
    adjacent = settings["adjacent"] if kind.ndim == 2 else 0
    outputs = {"affinities": len(offsets), "descriptors": len(descriptor_channels(kind.ndim))}
    architecture = Architecture(
        in_channels=sum(_input_channels(kind, adjacent, input_offsets).values()),
        heads={name: outputs[name] for name in kind.heads},
        features=settings["features"],
        growth=settings["growth"],
        pooling=tuple(tuple(factors) for factors in settings["pooling"]),
        kernels=tuple(tuple(kernel) for kernel in settings["kernels"]),
        normalization=settings["normalization"],
    )
    if architecture.ndim != kind.ndim:
        raise InputError(
            f"a net of kind {settings['kind']} with kernels {settings['kernels']}",
            allowed=f"kernels and pooling with {kind.ndim} numbers each",
            remedy="adapt `kernels` and `pooling` of this net in the configuration",
        )
    sigma = source["sigma"]
    size = tuple(float(v) for v in voxel_size) if voxel_size is not None else None
    return NetDescription(settings["kind"], architecture, adjacent, offsets, input_offsets, tuple(sigma), size)


def _input_channels(kind: Kind, adjacent: int, input_offsets: Sequence[Sequence[int]]) -> dict[str, int]:
    sizes = {
        "raw": 2 * adjacent + 1,
        "affinities": len(input_offsets),
        "descriptors": len(descriptor_channels(kind.described)),
    }
    return {name: sizes[name] for name in kind.inputs}


def settings_of(description: NetDescription) -> dict[str, Any]:
    """What a block of `nets` in the configuration says of the net; the inverse of `describe_net`."""
    architecture, kind = description.architecture, KINDS[description.kind]
    settings: dict[str, Any] = {
        "kind": description.kind,
        "features": architecture.features,
        "growth": architecture.growth,
        "pooling": [list(factors) for factors in architecture.pooling],
        "kernels": [list(kernel) for kernel in architecture.kernels],
        "normalization": architecture.normalization,
        "offsets": [list(offset) for offset in description.offsets],
    }
    if kind.ndim == 2:
        settings["adjacent"] = description.adjacent
    if kind.source != "2d":
        settings["sigma"] = list(description.sigma)
    return settings


def description_of(fields: Mapping[str, Any]) -> NetDescription:
    """The description in a checkpoint's plain `fields`, as `dataclasses.asdict` makes them.

    Raises
    ------
    InputError
        Where channels or axes are not those of the net's kind and offsets.
    KeyError, TypeError, ValueError
        Where fields are missing, unknown or of another type.
    """
    tuples: dict[str, Any] = {name: _as_tuples(value) for name, value in fields.items()}
    architecture = Architecture(**{name: _as_tuples(value) for name, value in fields["architecture"].items()})
    description = NetDescription(**{**tuples, "architecture": architecture})
    section = {"offsets": description.input_offsets, "sigma": description.sigma}
    lifts = KINDS[description.kind].source == "2d"
    needed = describe_net(
        settings_of(description), section_settings=section if lifts else None, voxel_size=description.voxel_size
    )
    if needed != description:
        raise InputError(
            f"a net of kind {description.kind} with {architecture.in_channels} input channels and heads of "
            f"{dict(architecture.heads)} channels",
            allowed=f"{needed.architecture.in_channels} and {dict(needed.architecture.heads)}, by its kind and offsets",
            remedy="use a checkpoint as a training wrote it",
        )
    return description


def _as_tuples(value: Any) -> Any:
    """`value` with tuples for lists, at every depth."""
    return tuple(map(_as_tuples, value)) if isinstance(value, (list, tuple)) else value
