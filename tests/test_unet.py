"""The U-Net's arithmetic of shapes, and that its answer doesn't depend on how a volume is cut."""

import pytest
import torch

from sparse2dense.errors import InputError
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.unet import UNet

SECTION = Architecture(3, {"affinities": 2}, 4, 2, ((2, 2), (2, 2), (2, 2)), ((3, 3),) * 4)
LIFT = Architecture(2, {"affinities": 3}, 3, 2, ((1, 2, 2), (1, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3)))
UNEVEN = Architecture(1, {"a": 1, "b": 2}, 2, 3, ((1, 3, 3), (2, 2, 2)), ((1, 3, 3), (1, 5, 5), (3, 3, 3)), "none")


def ready(architecture: Architecture) -> UNet:
    """A net with random weights and running statistics, as if trained."""
    torch.manual_seed(1)
    net = UNet(architecture)
    side = [3 * s for s in architecture.stride]
    net.train()
    for _ in range(3):
        net(torch.rand(2, architecture.in_channels, *side))
    return net.eval()


@pytest.mark.parametrize("architecture", [SECTION, LIFT, UNEVEN])
@pytest.mark.parametrize("wanted", [1, 5, 8, 13])
def test_unpadded_output_covers_what_was_asked_for(architecture: Architecture, wanted: int) -> None:
    """The input that `input_shape` names gives an output at least as large as wanted, and less than a stride larger."""
    net = ready(architecture)
    shape = architecture.input_shape((wanted,) * architecture.ndim)
    with torch.inference_mode():
        out = next(iter(net(torch.rand(1, architecture.in_channels, *shape), padded=False).values()))
    for size, stride, given, context in zip(
        out.shape[2:], architecture.stride, shape, architecture.context, strict=True
    ):
        assert wanted <= size < wanted + stride
        assert given == size + 2 * context


@pytest.mark.parametrize("architecture", [SECTION, LIFT, UNEVEN])
def test_blocks_at_multiples_of_the_stride_equal_the_whole(architecture: Architecture) -> None:
    """A block that begins at a multiple of the stride is predicted as the whole is, to 1e-5."""
    net = ready(architecture)
    shape = architecture.input_shape(tuple(5 * s for s in architecture.stride))
    x = torch.rand(1, architecture.in_channels, *shape)
    start = tuple(2 * s for s in architecture.stride)
    size = architecture.input_shape(architecture.stride)
    box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    with torch.inference_mode():
        whole = net(x, padded=False)
        block = net(x[(slice(None), slice(None), *box)], padded=False)
    for name, value in block.items():
        inner = tuple(slice(a, a + n) for a, n in zip(start, value.shape[2:], strict=True))
        assert torch.allclose(value, whole[name][(slice(None), slice(None), *inner)], atol=1e-5)


@pytest.mark.parametrize("architecture", [SECTION, LIFT, UNEVEN])
def test_padded_and_unpadded_agree_away_from_the_edge(architecture: Architecture) -> None:
    """The padding that training uses changes nothing farther from the edge than the context."""
    net = ready(architecture)
    # Both runs pool the same voxels together where the unpadded window begins in the phase of its own way down.
    starts = []
    for axis, stride in enumerate(architecture.stride):
        scale, lost = 1, 0
        for kernel, factors in zip(architecture.kernels, architecture.pooling, strict=False):
            lost += 2 * (kernel[axis] // 2) * scale
            scale *= factors[axis]
        starts.append(-lost % stride)
    size = architecture.input_shape((1,) * architecture.ndim)
    room = zip(starts, size, architecture.stride, strict=True)
    x = torch.rand(1, architecture.in_channels, *(-(-(a + n) // stride) * stride for a, n, stride in room))
    box = tuple(slice(a, a + n) for a, n in zip(starts, size, strict=True))
    with torch.inference_mode():
        padded = net(x)
        cut = net(x[(slice(None), slice(None), *box)], padded=False)
    for name, value in cut.items():
        first = [a + c for a, c in zip(starts, architecture.context, strict=True)]
        inner = tuple(slice(c, c + n) for c, n in zip(first, value.shape[2:], strict=True))
        assert torch.allclose(value, padded[name][(slice(None), slice(None), *inner)], atol=1e-5)


def test_a_voxel_sees_nothing_beyond_the_context() -> None:
    """Changing the input farther away than the context leaves an output voxel as it is."""
    net = ready(LIFT)
    shape = LIFT.input_shape((4, 4, 4))
    x = torch.rand(1, 2, *shape, requires_grad=True)
    out = net(x, padded=False)["affinities"]
    out[0, 0, 0, 0, 0].backward()
    assert x.grad is not None
    reach = [2 * c + s for c, s in zip(LIFT.context, LIFT.stride, strict=True)]
    assert float(x.grad[..., reach[0] :, :, :].abs().sum()) == 0
    assert float(x.grad[..., :, reach[1] :, :].abs().sum()) == 0
    assert float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"kernels": ((3, 3),) * 3},
        {"kernels": ((2, 2),) * 4},
        {"kernels": ((3, 3, 3),) * 4},
    ],
)
def test_impossible_architectures_are_refused(change: dict) -> None:
    """A wrong number of kernels, an even kernel or mixed axes are refused with what is allowed."""
    with pytest.raises(InputError, match="allowed"):
        Architecture(**{**vars(SECTION), **change})
