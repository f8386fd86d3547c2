"""What the tables of the report say, as rows for its page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse2dense.stages.charts import CONVENTIONS, sorted_tracks
from sparse2dense.stages.error_tables import read_errors
from sparse2dense.stages.rounds import round_of

__all__ = [
    "SECONDS_PER_OUTLINE",
    "annotation_efforts",
    "filter_tables",
    "rows_of",
    "score_rows",
    "skeleton_rows",
    "suggestion_tables",
    "summarise",
    "with_parts",
    "worst_errors",
]

WORST = 5
"""How many splits, and how many merges, of a track are shown."""
SECONDS_PER_OUTLINE = 30
"""What painting one object in one section is taken to cost: an assumption, which the page tells with the estimate."""


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries, NaN as None."""
    return [
        {str(key): None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def with_parts(table: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a table, each with `<column>_part`: its share of the largest value, 0..1, for the bars."""
    for column in columns:
        largest = table[column].max() if len(table) else 0
        table = table.assign(**{f"{column}_part": (table[column] / largest).fillna(0) if largest else 0.0})
    return rows_of(table)


def summarise(
    table: pd.DataFrame, records: Sequence[Mapping[str, Any]], config: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Per volume and track: the best and the chosen threshold, with the scores of both conventions at each.

    Test volumes stand first, and where there are any they alone are in the `headline`. Where `best.json` is absent
    the best threshold is read from the table.
    """
    known = {(record["volume"], record["track"]): record for record in records}
    roles = {name: volume.get("role") for name, volume in (config.get("volumes") or {}).items()}
    pairs = {*zip(table["volume"], table["track"], strict=True), *known}
    place = {track: i for i, track in enumerate(sorted_tracks({track for _, track in pairs}))}
    summaries = []
    for volume, track in sorted(pairs, key=lambda p: (roles.get(p[0]) != "test", p[0], place[p[1]])):
        curve = table[(table["volume"] == volume) & (table["track"] == track)]
        record = known.get((volume, track), {})
        found = {kind: record.get(kind) for kind in ("chosen", "best")}
        interior = curve[curve["convention"] == "interior"]
        if not found["best"] and interior["voi_sum"].notna().any():
            found["best"] = rows_of(interior.loc[[interior["voi_sum"].idxmin()]])[0]
        convention = record.get("convention", "interior")
        points = {kind: scored_point(point, curve, convention) for kind, point in found.items()}
        facts = {"volume": volume, "track": track, "role": roles.get(volume), "convention": convention}
        summaries.append({**facts, **points})
    tested = any(entry["role"] == "test" for entry in summaries)
    return [{**entry, "headline": entry["role"] == "test" or not tested} for entry in summaries]


def scored_point(point: Mapping[str, Any] | None, curve: pd.DataFrame, judged_by: str) -> dict[str, Any] | None:
    """A threshold, the reason for it, and its scores in both conventions; None where there is no threshold."""
    if not point or point.get("threshold") is None:
        return None
    threshold = float(point["threshold"])
    here = curve[np.isclose(curve["threshold"].to_numpy(float), threshold, rtol=1e-9, atol=1e-12)]
    known = {convention: rows_of(here[here["convention"] == convention]) for convention in CONVENTIONS}
    scores = {convention: rows[0] if rows else None for convention, rows in known.items()}
    if scores[judged_by] is None:
        scores[judged_by] = dict(point)
    return {"threshold": threshold, "reason": point.get("reason"), **scores}


def score_rows(table: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the scores table; `mark` lists what a row is: best, chosen or neither."""
    points = [
        (record["volume"], record["track"], kind, float(record[kind]["threshold"]))
        for record in records
        for kind in ("best", "chosen")
        if (record.get(kind) or {}).get("threshold") is not None
    ]
    place = {track: i for i, track in enumerate(sorted_tracks(table["track"]))}
    rows = sorted(rows_of(table), key=lambda row: (row["volume"], place[row["track"]]))
    for row in rows:
        here = (row["volume"], row["track"])
        row["mark"] = [kind for *where, kind, at in points if tuple(where) == here and np.isclose(at, row["threshold"])]
    return rows


def skeleton_rows(table: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the scores by skeletons; `mark` as in `score_rows`, and longest where the normalised ERL is."""
    known = table.dropna(subset="erl_normalised")
    highest = known.loc[known.groupby(["volume", "track"])["erl_normalised"].idxmax()]
    longest = {(row["volume"], row["track"]): row["threshold"] for row in rows_of(highest)}
    rows = score_rows(table, records)
    for row in rows:
        if longest.get((row["volume"], row["track"])) == row["threshold"]:
            row["mark"].append("longest")
    return rows


def annotation_efforts(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Per annotated volume: sections, objects and voxels painted, from `annotation.csv` and `annotation.json`.

    `outlines` counts every object once in every section that it is in, and `minutes` is what painting them would take
    at `SECONDS_PER_OUTLINE`; both are None where no table says which objects there are.
    """
    efforts: dict[str, dict[str, Any]] = {}
    nothing = dict.fromkeys(("sections", "objects", "voxels", "outlines", "minutes"))
    for file in sorted(files, key=lambda path: path.suffix):
        effort = efforts.setdefault(file.parent.name, {**nothing, "rows": []})
        if file.suffix == ".csv":
            table = pd.read_csv(file)
            effort["rows"] = rows_of(table)
            effort["objects"] = len(table)
            effort["voxels"] = int(table["voxels"].sum())
            effort["outlines"] = int(table["sections"].sum())
            effort["minutes"] = effort["outlines"] * SECONDS_PER_OUTLINE / 60
        else:
            for key, value in json.loads(file.read_text()).items():
                if key in ("sections", "objects", "voxels"):
                    effort[key] = len(value) if isinstance(value, list) else value
    return [{"volume": volume, **effort} for volume, effort in efforts.items()]


def filter_tables(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The tables of counts before and after the filters of pseudo ground truth, with the volume and round of each."""
    tables = []
    for file in files:
        table = pd.read_csv(file)
        number = round_of(file.parent.name)
        volume = file.parent.name if number is None else file.parent.parent.name
        facts = {"volume": volume, "round": (number or 0) + 1}
        tables.append({**facts, "columns": list(table.columns), "rows": rows_of(table)})
    return tables


def worst_errors(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The worst splits and merges of each volume and track, each row with `middle`, the voxel amid its `box`.

    `marked` is the volume that marks all wrong voxels at their threshold; its rule is run only when it is asked for.
    """
    place = {track: i for i, track in enumerate(sorted_tracks({file.parent.name for file in files}))}
    tables = []
    for file in sorted(files, key=lambda path: (path.parent.parent.name, place[path.parent.name])):
        table = read_errors(file)
        rows = rows_of(table.groupby("kind", sort=False).head(WORST))
        for row in rows:
            row["middle"] = [(row[f"begin_{axis}"] + row[f"end_{axis}"]) // 2 for axis in "zyx"]
            row["box"] = ", ".join(f"{row[f'begin_{axis}']}:{row[f'end_{axis}']}" for axis in "zyx")
        marked = file.with_name("errors") / f"{rows[0]['threshold']}.zarr" if rows else None
        tables.append({"volume": file.parent.parent.name, "track": file.parent.name, "rows": rows, "marked": marked})
    return tables


def suggestion_tables(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The suggestions of where to paint next, sections before regions, each row with its `box` in words (y, x)."""
    tables = []
    for file in files:
        table = pd.read_csv(file, dtype={"volume": str})
        for kind in ("section", "region"):
            rows = rows_of(table[table["kind"] == kind])
            for row in rows:
                row["box"] = ", ".join(f"{row[f'begin_{axis}']}:{row[f'end_{axis}']}" for axis in "yx")
            tables.append({"kind": kind, "rows": rows})
    return tables
