"""Charts of scores, losses and resources: small panels, drawn as PNG for files and as SVG for the page."""

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from sparse2dense.stages.colours import BLUE, VERMILLION, track_style
from sparse2dense.stages.pictures import FIGURE_WIDTH, save_png, style
from sparse2dense.stages.rounds import round_of

__all__ = [
    "CONVENTIONS",
    "SKELETON_COLUMNS",
    "VOI_COLUMNS",
    "draw_loss",
    "draw_resources",
    "draw_skeleton_score",
    "draw_voi",
    "draw_voi_curve",
    "figure_losses",
    "figure_resources",
    "figure_scores",
    "panel_svg",
    "read_benchmarks",
    "read_best",
    "read_scores",
    "read_skeleton_scores",
    "rules_by_cost",
    "sorted_tracks",
]

VOI_COLUMNS = {"voi_sum": "VOI sum", "voi_split": "VOI split", "voi_merge": "VOI merge"}
SKELETON_COLUMNS = {"erl_normalised": "normalised ERL", "splits": "splits", "mergers": "mergers", "edits": "edits"}
CONVENTIONS = ("interior", "all")
SHOWN_RULES = 24  # bars that fit under each other
INK = "#010203"  # stands for the colour of text; the page puts its own in its place


def read_scores(files: Sequence[Path]) -> pd.DataFrame:
    """All score tables as one, sorted by volume, track, convention and threshold; empty without files."""
    return _read_tables(files, ["volume", "track", "convention", "threshold"], VOI_COLUMNS)


def read_skeleton_scores(files: Sequence[Path]) -> pd.DataFrame:
    """All tables of scores by skeletons as one, sorted by volume, track and threshold; edits are nan if not counted."""
    return _read_tables(files, ["volume", "track", "threshold"], SKELETON_COLUMNS)


def _read_tables(files: Sequence[Path], order: list[str], columns: Iterable[str]) -> pd.DataFrame:
    """All tables as one, sorted by the columns `order`; `columns` are there even if no table has them."""
    tables = [pd.read_csv(file, dtype={"volume": str, "track": str}) for file in files]
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame(columns=[*order, *columns])
    found = pd.concat(tables, ignore_index=True).sort_values(order, ignore_index=True)
    return found.assign(**{column: np.nan for column in columns if column not in found})


def read_best(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The records of `best.json`, in the order of the files."""
    return [json.loads(file.read_text()) for file in files]


def read_benchmarks(files: Sequence[Path]) -> pd.DataFrame:
    """Snakemake's benchmark tables as one: rule, job, seconds, peak_mb, cpu_seconds, load; one row per job.

    Files are named `<rule>/<job>.tsv`. Repeats of a job count as its mean time and its highest peak.
    """
    rows = []
    for file in files:
        table = pd.read_csv(file, sep="\t")
        number = {
            name: pd.to_numeric(table[name], errors="coerce") if name in table else pd.Series([np.nan])
            for name in ("s", "max_rss", "cpu_time", "mean_load")
        }
        rows.append(
            {
                "rule": file.parent.name,
                "job": file.stem,
                "seconds": number["s"].mean(),
                "peak_mb": number["max_rss"].max(),
                "cpu_seconds": number["cpu_time"].mean(),
                "load": number["mean_load"].mean() / 100,
            }
        )
    columns = ["rule", "job", "seconds", "peak_mb", "cpu_seconds", "load"]
    return pd.DataFrame(rows, columns=columns).sort_values(["rule", "job"], ignore_index=True)


def marks(best: Sequence[Mapping[str, Any]], volume: str, track: str) -> dict[str, float]:
    """Thresholds to mark on a curve: `best` and `chosen`, each only where it is known."""
    found = {}
    for record in best:
        if (record["volume"], record["track"]) == (volume, track):
            for kind in ("best", "chosen"):
                if (record.get(kind) or {}).get("threshold") is not None:
                    found[kind] = float(record[kind]["threshold"])
    return found


def sorted_tracks(tracks: Iterable[str]) -> list[str]:
    """Distinct tracks in the order in which the method makes them, others behind."""

    def place(track: str) -> tuple[int, str]:
        number = round_of(track)
        return (number, "") if number is not None else (10**9, "" if track == "baseline" else track)

    return sorted(set(tracks), key=place)


def _draw_curves(
    axes: Axes,
    scores: pd.DataFrame,
    columns: tuple[str, str],
    best: Sequence[Mapping[str, Any]],
    volume: str,
) -> None:
    names = sorted_tracks(scores["track"])
    for track in names:
        curve = scores[scores["track"] == track].sort_values("threshold")
        colour, marker = track_style(track, names)
        x, y = curve[columns[0]].to_numpy(float), curve[columns[1]].to_numpy(float)
        axes.plot(x, y, color=colour, marker=marker, markersize=3, linewidth=1.4, label=track, alpha=0.9)
        for kind, threshold in marks(best, volume, track).items():
            nearest = int(np.argmin(np.abs(curve["threshold"].to_numpy(float) - threshold)))
            look = {"best": ("*", 10), "chosen": ("X", 7)}[kind]
            axes.plot(x[nearest], y[nearest], look[0], color=colour, markersize=look[1], markeredgecolor=INK)


def draw_voi(
    axes: Axes, scores: pd.DataFrame, best: Sequence[Mapping[str, Any]], volume: str, convention: str, column: str
) -> None:
    """Draw one VOI column in bits against the threshold, a line per track; a star marks best, a cross chosen."""
    shown = scores[(scores["volume"] == volume) & (scores["convention"] == convention)]
    _draw_against_threshold(axes, shown, best, volume, column)
    axes.set_ylabel(f"{VOI_COLUMNS[column]} (bits)")


def draw_skeleton_score(
    axes: Axes, scores: pd.DataFrame, best: Sequence[Mapping[str, Any]], volume: str, column: str
) -> None:
    """Draw one of `SKELETON_COLUMNS` against the threshold, a line per track; marked as by `draw_voi`."""
    _draw_against_threshold(axes, scores[scores["volume"] == volume], best, volume, column)
    axes.set_ylabel(SKELETON_COLUMNS[column])


def _draw_against_threshold(
    axes: Axes, scores: pd.DataFrame, best: Sequence[Mapping[str, Any]], volume: str, column: str
) -> None:
    _draw_curves(axes, scores, ("threshold", column), best, volume)
    thresholds = scores["threshold"].to_numpy(float)
    if len(thresholds) and thresholds.min() > 0 and np.median(thresholds) < thresholds.max() / 5:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _start_at_zero(axes)
    axes.set_xlabel("threshold")


def draw_voi_curve(
    axes: Axes, scores: pd.DataFrame, best: Sequence[Mapping[str, Any]], volume: str, convention: str
) -> None:
    """Draw VOI merge against VOI split, both in bits: a point per threshold, a line per track."""
    shown = scores[(scores["volume"] == volume) & (scores["convention"] == convention)]
    _draw_curves(axes, shown, ("voi_split", "voi_merge"), best, volume)
    axes.set(xlabel="VOI split (bits)", ylabel="VOI merge (bits)")
    _start_at_zero(axes, x_too=True)


def _start_at_zero(axes: Axes, x_too: bool = False) -> None:
    """Show the axes from 0 on, with room beyond the highest mark even where all are as high."""
    axes.update_datalim([(0, 0)], updatex=x_too)
    axes.autoscale_view()
    axes.set_ylim(bottom=0)
    if x_too:
        axes.set_xlim(left=0)


def draw_loss(axes: Axes, losses: pd.DataFrame, against: str) -> None:
    """Draw training and validation loss, log scale, against `step` or `minutes`."""
    x = losses["step"] if against == "step" else losses["seconds"] / 60
    training = losses["loss"].to_numpy(float)
    window = max(1, len(training) // 100)
    if window > 1:
        axes.plot(x, training, color=BLUE, linewidth=0.5, alpha=0.3)
    smooth = losses["loss"].rolling(window, min_periods=1, center=True).mean()
    axes.plot(x, smooth, color=BLUE, linewidth=1.4, label="training")
    if "validation_loss" in losses and losses["validation_loss"].notna().any():
        known = losses["validation_loss"].notna()
        axes.plot(
            x[known], losses["validation_loss"][known], "o-", color=VERMILLION, markersize=3.5, label="validation"
        )
    if (losses["loss"].dropna() > 0).all():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(_sparse_label))
    axes.set(xlabel=against, ylabel="loss")


def _sparse_label(value: float, _: int) -> str:
    """Labels 2 and 5 between powers of ten, nothing else."""
    return f"{value:g}" if f"{value:.0e}"[0] in "25" else ""


def draw_resources(axes: Axes, jobs: pd.DataFrame, column: str) -> None:
    """Draw a bar per rule: total `seconds` of its jobs, or the highest `peak_mb` of one."""
    rules = rules_by_cost(jobs).head(SHOWN_RULES)[::-1]
    values = rules[column].fillna(0).to_numpy(float)
    axes.barh(rules["rule"], values, color=BLUE if column == "seconds" else VERMILLION, height=0.7)
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:,.0f}" if value >= 10 else f" {value:.1f}", va="center", fontsize=8)
    axes.set_xlabel({"seconds": "seconds, all jobs of the rule", "peak_mb": "peak memory of one job (MB)"}[column])
    axes.margins(x=0.15)


def rules_by_cost(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row per rule, most seconds first: rule, jobs, seconds (sum), longest, peak_mb (highest), load (mean)."""
    grouped = jobs.groupby("rule").agg(
        jobs=("job", "size"),
        seconds=("seconds", "sum"),
        longest=("seconds", "max"),
        peak_mb=("peak_mb", "max"),
        load=("load", "mean"),
    )
    return grouped.reset_index().sort_values(["seconds", "rule"], ascending=[False, True], ignore_index=True)


def figure_scores(scores: Sequence[Path], output: Path, best: Sequence[Path] = ()) -> None:
    """Draw VOI split, merge and sum per threshold, and split against merge, for every track, volume and convention.

    `best` are the `best.json` of the same tracks: a star marks the best threshold, a cross the chosen one.
    """
    table, records = read_scores(scores), read_best(best)
    groups = [
        (volume, convention)
        for volume in table["volume"].unique()
        for convention in CONVENTIONS
        if ((table["volume"] == volume) & (table["convention"] == convention)).any()
    ]
    with style():
        rows = max(1, len(groups))
        figure, grid = pyplot.subplots(
            rows, 4, figsize=(FIGURE_WIDTH, 2.6 * rows + 0.4), squeeze=False, layout="constrained"
        )
        for axes_row, (volume, convention) in zip(grid, groups, strict=False):
            for axes, column in zip(axes_row, VOI_COLUMNS, strict=False):
                draw_voi(axes, table, records, volume, convention, column)
            draw_voi_curve(axes_row[3], table, records, volume, convention)
            axes_row[0].set_title(f"{volume}, convention {convention}", loc="left")
        if groups:
            handles, names = grid[0, 0].get_legend_handles_labels()
            star = pyplot.Line2D([], [], marker="*", color="none", markeredgecolor=INK, markersize=11)
            cross = pyplot.Line2D([], [], marker="X", color="none", markeredgecolor=INK, markersize=9)
            labels = [*names, "best on this volume", "chosen beforehand"]
            figure.legend([*handles, star, cross], labels, loc="outside lower center", ncols=len(labels))
        else:
            _say_empty(grid.ravel(), "no scores")
        save_png(figure, output)


def figure_losses(losses: Mapping[str, Path], output: Path) -> None:
    """Draw training and validation loss of every net (name -> `losses.csv`) against steps and against minutes."""
    with style():
        rows = max(1, len(losses))
        figure, grid = pyplot.subplots(
            rows, 2, figsize=(FIGURE_WIDTH, 2.3 * rows + 0.2), squeeze=False, layout="constrained"
        )
        for axes_row, (net, file) in zip(grid, losses.items(), strict=False):
            table = pd.read_csv(file)
            for axes, against in zip(axes_row, ("step", "minutes"), strict=True):
                draw_loss(axes, table, against)
            axes_row[0].set_title(f"net {net}", loc="left")
            axes_row[0].legend()
        if not losses:
            _say_empty(grid.ravel(), "no losses")
        save_png(figure, output)


def figure_resources(benchmarks: Sequence[Path], output: Path) -> None:
    """Draw seconds and peak memory per rule from Snakemake's benchmark tables."""
    jobs = read_benchmarks(benchmarks)
    with style():
        bars = min(SHOWN_RULES, max(1, jobs["rule"].nunique()))
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(FIGURE_WIDTH, 0.9 + 0.24 * bars), layout="constrained")
        if len(jobs):
            draw_resources(left, jobs, "seconds")
            draw_resources(right, jobs, "peak_mb")
        else:
            _say_empty([left, right], "no benchmarks")
        save_png(figure, output)


def _say_empty(axes: Iterable[Axes], text: str) -> None:
    for one in axes:
        one.set_axis_off()
        one.text(0.5, 0.5, text, ha="center", va="center", transform=one.transAxes)


def panel_svg(draw: Callable[[Axes], object], name: str, width: float = 4.4, height: float = 2.9) -> str:
    """One panel as an `svg` element for a page: text stays text, ink is `currentColor`, no background.

    `name` is read aloud in place of the chart; it also keeps the element ids of different panels apart.
    """
    ink: dict[Any, Any] = {
        key: INK for key in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    }
    with style(), pyplot.rc_context({**ink, "svg.fonttype": "none", "svg.hashsalt": name, "savefig.transparent": True}):
        figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    prefix = re.sub(r"\W+", "-", name)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    label = name.replace("&", "and").replace("<", "").replace(">", "").replace('"', "'")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
