"""A small made-up run, as its stages would leave it, for the tests of the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from sparse2dense.stages.locating import ERROR_COLUMNS
from sparse2dense.stages.skeleton_scoring import COLUMNS, EDITS
from sparse2dense.stages.suggesting import KINDS, SUGGESTED

TRACKS = ("pseudo", "bootstrapped", "baseline")
CONFIG: dict[str, Any] = {
    "run": "example",
    "seed": 1,
    "volumes": {"home": {"role": "annotated"}, "away": {"role": "test", "raw": {"path": Path("away.tif")}}},
    "evaluate": {"border": [1, 2, 2], "tracks": list(TRACKS)},
}


def example_run(folder: Path) -> dict[str, Any]:
    """Write tables and pictures below `folder`; return the arguments of `write_report`, `output` apart."""
    scores, best = [], []
    for volume in ("home", "away"):
        for number, track in enumerate(TRACKS):
            place = folder / volume / track
            place.mkdir(parents=True)
            scores.append(place / "scores.csv")
            table = score_table(volume, track, 1.0 - 0.2 * number)
            table.to_csv(scores[-1], index=False)
            best.append(place / "best.json")
            best[-1].write_text(json.dumps(best_record(table)))
    errors = []
    for track in TRACKS:
        errors.append(folder / "away" / track / "errors.csv")
        rows = [] if track == "baseline" else [error_row("split", i) for i in range(7)] + [error_row("merge", 0)]
        pd.DataFrame(rows, columns=list(ERROR_COLUMNS)).to_csv(errors[-1], index=False)
    skeletons = []
    for number, track in enumerate(TRACKS):
        skeletons.append(folder / "away" / track / "skeleton_scores.csv")
        skeleton_table("away", track, 0.2 * number).to_csv(skeletons[-1], index=False)
    losses = {}
    for net in ("2d", "2d_to_3d"):
        losses[net] = folder / "nets" / net / "losses.csv"
        losses[net].parent.mkdir(parents=True)
        validation = ["", "0.4"] if net == "2d" else ["", ""]
        lines = [f"{step},{step / 2},{1 / step},{validation[step % 2 == 0]}" for step in range(1, 21)]
        losses[net].write_text("\n".join(["step,seconds,loss,validation_loss", *lines]) + "\n")
    benchmarks = [folder / "benchmarks" / rule / "home.tsv" for rule in ("train_2d", "predict")]
    for number, file in enumerate(benchmarks):
        file.parent.mkdir(parents=True)
        file.write_text(f"s\tmax_rss\tmean_load\tcpu_time\n{100 * (number + 1)}\t{900 - 100 * number}\t180.0\t300\n")
    annotation = [folder / "home" / "annotation.csv", folder / "home" / "annotation.json"]
    annotation[0].write_text(
        "object,voxels,sections,first_section,last_section\n9223372036854775806,40,2,3,4\n7,9,1,3,3\n"
    )
    annotation[1].write_text(json.dumps({"sections": 2, "objects": 2, "voxels": 49, "provenance": {}}))
    filters = folder / "home" / "pseudo" / "pseudo_truth.csv"
    filters.write_text("step,objects,voxels\nsegmentation,812,123456\ndust,301,120000\n")
    suggestions = folder / "paint_next.csv"
    rows = [suggestion_row(kind, rank) for kind in KINDS for rank in (1, 2)]
    pd.DataFrame(rows, columns=list(SUGGESTED)).to_csv(suggestions, index=False)
    return {
        "run": "example",
        "config": CONFIG,
        "scores": scores,
        "best": best,
        "losses": losses,
        "figures": example_figures(folder),
        "annotation": annotation,
        "benchmarks": benchmarks,
        "pseudo_truth": [filters],
        "errors": errors,
        "skeletons": skeletons,
        "suggestions": [suggestions],
        "panes": example_panes(folder),
    }


def error_row(kind: str, place: int) -> dict[str, Any]:
    """A row of `errors.csv`, of an object or segment with an id that no float holds, amid z, y, x of 4, 15, 25."""
    box = dict.fromkeys(ERROR_COLUMNS[9:], 1.0) | {"begin_z": 4, "begin_y": 10, "begin_x": 20}
    box |= {"end_z": 5, "end_y": 20, "end_x": 30}
    label = 9223372036854775700 + place
    counts = {"bits": 0.5 / (place + 1), "voxels": 4321, "partners": 3, "main": label + 50, "main_voxels": 4000}
    return {"threshold": "0.58", "convention": "interior", "kind": kind, "label": label, **counts, **box}


def suggestion_row(kind: str, rank: int) -> dict[str, Any]:
    """A row of `paint_next.csv`: section 7 times `rank` of home, 40 nm thick, or its second region along x."""
    numbers = {name: 0.5 + 0.0625 * rank for name in SUGGESTED[13:]} | {"gain": 0.75 - 0.0625 * rank}
    first, last = (0, 50) if kind == "section" else (25, 50)
    box = {"begin_y": 0, "end_y": 30, "begin_x": first, "end_x": last}
    nm = {f"{name}_nm": 4.0 * voxel for name, voxel in box.items()}
    place = {"kind": kind, "rank": rank, "volume": "home", "section": 7 * rank, "section_nm": 280.0 * rank}
    return place | box | nm | numbers


def skeleton_table(volume: str, track: str, level: float) -> pd.DataFrame:
    """Scores of four thresholds by skeletons; runs are longest at 0.1, with a normalised ERL of `level` + 0.5."""
    rows = []
    for threshold, share in ((0.1, 0.5), (0.3, 0.4), (0.58, 0.25), (0.7, 0.1)):
        row = dict.fromkeys((*COLUMNS, *EDITS), 0.0) | {"volume": volume, "track": track, "threshold": threshold}
        row |= {"erl_normalised": level + share, "erl_nm": 12000 * (level + share), "nodes": 1234, "voi_sum": 0.625}
        row |= {"splits": 2000 * (1 - threshold - level / 2), "mergers": 100 * threshold, "edits": 77 - 50 * level}
        rows.append(row)
    return pd.DataFrame(rows)


def score_table(volume: str, track: str, level: float) -> pd.DataFrame:
    """Scores of four thresholds in both conventions; the best of them is 0.3, with a VOI sum of `level` + 0.1."""
    rows = []
    for convention, more in (("interior", 0.0), ("all", 0.5)):
        for threshold, extra in ((0.1, 0.9), (0.3, 0.1), (0.58, 0.2), (0.7, 1.0)):
            split = level / 4 + more
            merge = level * 3 / 4 + extra
            rows.append(
                (volume, track, convention, threshold, split, merge, split + merge, 0.1, 0.2, 0.3, 0.25, 0.8, 0.7)
            )
    columns = (
        "volume,track,convention,threshold,voi_split,voi_merge,voi_sum,"
        "nvi_split,nvi_merge,nvi_sum,arand,rand_split,rand_merge"
    )
    return pd.DataFrame(rows, columns=columns.split(","))


def best_record(table: pd.DataFrame) -> dict[str, Any]:
    """`best.json` of a table: 0.3 is best, 0.58 was chosen."""
    interior = table[table["convention"] == "interior"].set_index("threshold")
    point = {
        kind: {
            "threshold": at,
            "reason": "lowest VOI sum on the annotation of home",
            "voi_sum": interior["voi_sum"][at],
        }
        for kind, at in (("best", 0.3), ("chosen", 0.58))
    }
    return {"volume": table["volume"][0], "track": table["track"][0], "convention": "interior", **point}


def example_figures(folder: Path) -> dict[str, list[tuple[str, str, Path]]]:
    """A picture for every section of the report, each of another colour."""
    figures = {}
    sections = (
        "segmentation",
        "annotation",
        "prediction",
        "affinities",
        "fragments",
        "pseudo_truth",
        "paint_next",
        "losses",
        "snapshots",
        "scores",
        "resources",
        "errors",
        "shapes",
    )
    for number, section in enumerate(sections):
        file = folder / "figures" / f"{section}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((300, 640, 3), 18 * number, np.uint8)).save(file)
        figures[section] = [(f"{section} of home", f"What <{section}> shows & how.", file)]
    return figures


def example_panes(folder: Path) -> list[Path]:
    """Two sections of away as four panes each, 40 x 30 voxels."""
    directory = folder / "away" / "figures" / "side_by_side"
    directory.mkdir(parents=True)
    sections = []
    for number in (3, 12):
        panes = [{"name": name, "file": f"section_{number}_{name}.png"} for name in ("raw", "truth", *TRACKS[:2])]
        for place, pane in enumerate(panes):
            Image.fromarray(np.full((30, 40, 3), 20 * place + number, np.uint8)).save(directory / pane["file"])
        sections.append({"number": number, "voxel_size_nm": [4.0, 8.0], "panes": panes})
    (directory / "panes.json").write_text(json.dumps({"sections": sections}))
    return [directory]
