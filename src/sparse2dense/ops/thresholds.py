"""Thresholds with exact decimal names, so that no two share a file and none carries the noise of binary floats."""

from decimal import Decimal, InvalidOperation

from sparse2dense.errors import InputError

__all__ = ["Threshold", "threshold_name", "thresholds"]

Threshold = Decimal | float | int | str


def _decimal(value: Threshold) -> Decimal:
    # str first: the shortest decimal that names a float is what the user typed, Decimal(0.58) is not
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or abs(number.adjusted()) > 20:
        raise InputError(
            f"threshold {value!r} is not a number",
            allowed="a decimal such as 0.58",
            remedy="correct the threshold in segment.thresholds or in the name of the file",
        )
    return number


def threshold_name(value: Threshold) -> str:
    """Return the exact decimal of a threshold as file names carry it: no exponent, no trailing zeros.

    Raises InputError when `value` is no number, or beyond 10^±20.

    >>> threshold_name(0.58), threshold_name("0.580"), threshold_name(1)
    ('0.58', '0.58', '1')
    """
    number = _decimal(value)
    return "0" if number == 0 else format(number.normalize(), "f")


def thresholds(start: Threshold, stop: Threshold, step: Threshold) -> list[str]:
    """Return the names of the thresholds from `start` to `stop`, which is included where a step meets it.

    Computed in decimals. Raises InputError when `step` isn't positive or `stop` lies below `start`.

    >>> thresholds(0.1, 0.3, 0.1)
    ['0.1', '0.2', '0.3']
    """
    first, last, width = _decimal(start), _decimal(stop), _decimal(step)
    if width <= 0 or last < first:
        raise InputError(
            f"thresholds from {start} to {stop} in steps of {step} are none",
            allowed="start <= stop and step > 0",
            remedy="correct segment.thresholds in the configuration",
        )
    return [threshold_name(first + i * width) for i in range(int((last - first) / width) + 1)]
