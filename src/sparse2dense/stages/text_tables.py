"""Tables and quantities as plain text, for terminals of 120 columns."""

from collections.abc import Iterable, Iterator, Sequence

__all__ = ["aligned", "by", "duration", "gigabytes"]


def aligned(rows: Sequence[Sequence[str]], left: int = 1, indent: str = "  ") -> Iterator[str]:
    """Yield rows as lines with aligned columns: the first `left` to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield (indent + "  ".join(cells)).rstrip()


def by(shape: Iterable[float]) -> str:
    """Return sides with crosses between them."""
    return " x ".join(f"{side:g}" if isinstance(side, float) else str(side) for side in shape)


def gigabytes(count: float) -> str:
    """Return bytes in GB (10^9), with as many decimals as tell something."""
    size = count / 1e9
    return f"{size:,.0f}" if size >= 100 else f"{size:.1f}" if size >= 1 else f"{size:.3f}"


def duration(seconds: float) -> str:
    """Return seconds in the unit that a reader would choose."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
