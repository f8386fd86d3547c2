"""The table of the worst errors, as reports and viewers read it."""

from pathlib import Path

import pandas as pd

__all__ = ["read_errors"]


def read_errors(file: Path, ids: str = "str") -> pd.DataFrame:
    """Return the errors that count as in `interior`, of a table that `locating.rank_errors` wrote.

    Thresholds are exact decimals, and ids of type `ids`, str or uint64, because no float holds them. A table without
    conventions, as older runs wrote it, holds no others.
    """
    table = pd.read_csv(file, dtype={"threshold": "str", "label": ids, "main": ids})
    return table[table["convention"] == "interior"] if "convention" in table else table
