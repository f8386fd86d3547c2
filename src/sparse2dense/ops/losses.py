"""Losses over the voxels that the annotation speaks of."""

from torch import Tensor
from torch.nn import functional

__all__ = ["masked_cross_entropy", "masked_square_error"]


def masked_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross entropy averaged with `weight`; all three float and of one shape.

    Where `weight` is 0 everywhere the loss and its gradient are 0.
    """
    each = functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1.0)


def masked_square_error(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Squared error of the sigmoid of `logits` averaged with `weight`; all three float and of one shape.

    Where `weight` is 0 everywhere the loss and its gradient are 0.
    """
    each = (logits.float().sigmoid() - target).square()
    return (each * weight).sum() / weight.sum().clamp(min=1.0)
