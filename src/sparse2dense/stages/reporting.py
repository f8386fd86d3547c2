"""The report of a run: one HTML page that needs no network, made from the tables and pictures of its stages."""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from sparse2dense.errors import InputError
from sparse2dense.stages.charts import (
    CONVENTIONS,
    SKELETON_COLUMNS,
    VOI_COLUMNS,
    draw_loss,
    draw_skeleton_score,
    draw_voi,
    draw_voi_curve,
    panel_svg,
    read_benchmarks,
    read_best,
    read_scores,
    read_skeleton_scores,
    rules_by_cost,
    sorted_tracks,
)
from sparse2dense.stages.colours import track_style
from sparse2dense.stages.methods import methods_paragraph
from sparse2dense.stages.report_pictures import FIGURE_SECTIONS, Figure, compared, embed
from sparse2dense.stages.report_tables import (
    SECONDS_PER_OUTLINE,
    annotation_efforts,
    filter_tables,
    rows_of,
    score_rows,
    skeleton_rows,
    suggestion_tables,
    summarise,
    with_parts,
    worst_errors,
)
from sparse2dense.stages.rounds import round_gains
from sparse2dense.stages.side_by_side import LISTED
from sparse2dense.volumes.provenance import plain
from sparse2dense.volumes.provenance import provenance as make_provenance
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["write_report"]

log = logging.getLogger(__name__)

MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚"}


def write_report(
    output: Path,
    *,
    run: str,
    config: Mapping[str, Any],
    scores: Sequence[Path],
    best: Sequence[Path],
    losses: Mapping[str, Path],
    figures: Mapping[str, Sequence[Figure]],
    annotation: Sequence[Path],
    benchmarks: Sequence[Path],
    pseudo_truth: Sequence[Path] = (),
    errors: Sequence[Path] = (),
    skeletons: Sequence[Path] = (),
    suggestions: Sequence[Path] = (),
    panes: Sequence[Path] = (),
    reused: Mapping[str, Path] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a run as one HTML page under 20 MB that loads nothing.

    Parameters
    ----------
    output
        The page; it appears under its name only when it is complete.
    run, config
        Name and configuration of the run, defaults included.
    scores, best
        `scores.csv` and `best.json` of every track and scored volume.
    losses
        Name of each net and its `losses.csv`.
    figures
        Section (a key of `FIGURE_SECTIONS`) and its pictures: title, caption, PNG file.
    annotation
        `annotation.csv` and `annotation.json` of the annotated volumes, in directories named after these.
    benchmarks
        Snakemake's benchmark tables.
    pseudo_truth
        `pseudo_truth.csv` of the volumes and rounds, as `<volume>/<track>/pseudo_truth.csv`.
    errors
        `errors.csv` of every track of the test volumes, as `<volume>/<track>/errors.csv`; the page names the volumes
        beside them that mark the errors.
    skeletons
        `skeleton_scores.csv` of every track of the test volumes that have skeletons.
    suggestions
        `paint_next.csv`, if there is one.
    panes
        Directories that `side_by_side.write_panes` leaves, as `<volume>/figures/side_by_side`.
    reused
        Name of each net that was trained elsewhere, and its `reused.json`.
    provenance
        What `volumes.provenance.provenance` returns; made here by default.

    Whatever is empty leaves a section that says so. Raises InputError for an unknown section or a missing file.
    """
    tables = [*scores, *best, *losses.values(), *annotation, *benchmarks, *pseudo_truth, *errors, *skeletons]
    tables += [*suggestions, *(directory / LISTED for directory in panes)]
    taken = dict(reused or {})
    record = provenance or make_provenance("report", config, {})
    check_files([*tables, *taken.values()], figures)
    table, records, by_skeletons = read_scores(scores), read_best(best), read_skeleton_scores(skeletons)
    environment = Environment(
        loader=PackageLoader("sparse2dense.stages", "report_template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(bits=bits, change=change, code=code, count=count, duration=duration)
    summaries, efforts = summarise(table, records, config), annotation_efforts(annotation)
    training, filters = loss_charts(losses), filter_tables(pseudo_truth)
    steps = {chart["net"]: chart["steps"] for chart in training if chart["steps"] is not None}
    page = environment.get_template("page.html.j2").render(
        run=run,
        style=Markup(environment.get_template("style.css").render()),
        behaviour=Markup(environment.get_template("page.js").render()),
        summaries=summaries,
        rounds=round_gains(records, roles(config)),
        efforts=efforts,
        seconds_per_outline=SECONDS_PER_OUTLINE,
        suggestions=suggestion_tables(suggestions),
        score_charts=score_charts(table, records),
        score_rows=score_rows(table, records),
        skeleton_charts=skeleton_charts(by_skeletons, records),
        skeleton_rows=skeleton_rows(by_skeletons, records),
        looks=track_looks({*table["track"], *by_skeletons["track"], *(record["track"] for record in records)}),
        errors=worst_errors(errors),
        compared=compared(panes),
        figures=embed(figures, {name for name, role in roles(config).items() if role == "test"}),
        loss_charts=training,
        reused=[{"net": net, **json.loads(file.read_text())} for net, file in taken.items()],
        filters=filters,
        rules=with_parts(rules_by_cost(read_benchmarks(benchmarks)), ("seconds", "peak_mb")),
        jobs=rows_of(read_benchmarks(benchmarks)),
        config=yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=100),
        border=(config.get("evaluate") or {}).get("border"),
        methods=methods_paragraph(
            config, efforts=efforts, filters=filters, summaries=summaries, steps=steps, provenance=record
        ),
        provenance=record,
    )
    with atomic_file(output) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    log.info("report of %s: %.1f MB", run, len(page) / 1e6)


def check_files(files: Sequence[Path], figures: Mapping[str, Sequence[Figure]]) -> None:
    """Raise InputError for a section of pictures that the page doesn't have, or a file that isn't there."""
    for section in figures:
        if section not in FIGURE_SECTIONS:
            raise InputError(
                f"the report has no section {section!r} for pictures",
                allowed=", ".join(FIGURE_SECTIONS),
                remedy="name one of these sections",
            )
    for file in [*files, *(figure[2] for group in figures.values() for figure in group)]:
        if not file.is_file():
            raise InputError(
                f"{file} is not there",
                allowed="files that the stages of the run have written",
                remedy="make the file first, or leave it out: the report says what is absent",
            )


def bits(value: Any) -> str:
    """Three decimals; a dash where there is no number."""
    return "–" if value is None or not np.isfinite(float(value)) else f"{float(value):.3f}"


def change(value: float | None) -> str:
    """Three decimals with their sign, none for 0; a dash where there is no number."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−") if value else "0.000"


def count(value: Any) -> str:
    """An integer with thin spaces between thousands; a dash where there is no number."""
    return "–" if value is None or not np.isfinite(float(value)) else f"{float(value):,.0f}".replace(",", "\u2009")


def code(text: str) -> Markup:
    """Text for a page, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def duration(seconds: Any) -> str:
    """Seconds in the two largest units that say something."""
    if seconds is None or not np.isfinite(float(seconds)):
        return "–"
    if float(seconds) < 60:
        return f"{float(seconds):.1f} s"
    whole = round(float(seconds))
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole % 60:02d} s"


def track_looks(tracks: Iterable[str]) -> dict[str, dict[str, str]]:
    """Colour and marker of every track of the run, in the order of the method."""
    ordered = sorted_tracks(tracks)
    styles = {track: track_style(track, ordered) for track in ordered}
    return {track: {"colour": colour, "marker": MARKERS[marker]} for track, (colour, marker) in styles.items()}


def score_charts(table: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per scored volume and convention: VOI sum, split and merge per threshold, and split against merge, as SVG."""
    charts = []
    for volume in table["volume"].unique():
        for convention in CONVENTIONS:
            if not ((table["volume"] == volume) & (table["convention"] == convention)).any():
                continue
            where = f"{volume}, convention {convention}"
            panels = []
            for column, label in VOI_COLUMNS.items():

                def draw(axes: Any, v: str = volume, c: str = convention, k: str = column) -> None:
                    draw_voi(axes, table, records, v, c, k)

                panels.append(Markup(panel_svg(draw, f"{label} per threshold, {where}")))

            def curve(axes: Any, v: str = volume, c: str = convention) -> None:
                draw_voi_curve(axes, table, records, v, c)

            panels.append(Markup(panel_svg(curve, f"VOI merge against VOI split, {where}")))
            charts.append({"volume": volume, "convention": convention, "panels": panels})
    return charts


def skeleton_charts(table: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per volume with skeletons: normalised ERL, splits, mergers and, where counted, edits per threshold, as SVG."""
    charts = []
    for volume in table["volume"].unique():
        here = table[table["volume"] == volume]
        panels = []
        for column, label in SKELETON_COLUMNS.items():
            if here[column].notna().any():

                def draw(axes: Any, v: str = volume, k: str = column) -> None:
                    draw_skeleton_score(axes, table, records, v, k)

                panels.append(Markup(panel_svg(draw, f"{label} per threshold by skeletons, {volume}")))
        charts.append({"volume": volume, "panels": panels})
    return charts


def loss_charts(losses: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Per net: its last and lowest losses in words, and panels of the loss against steps and minutes."""
    charts = []
    for net, file in losses.items():
        table = pd.read_csv(file)
        validation = table["validation_loss"].dropna() if "validation_loss" in table else pd.Series(dtype=float)
        panels = []
        for against in ("step", "minutes"):

            def draw(axes: Any, t: pd.DataFrame = table, a: str = against) -> None:
                draw_loss(axes, t, a)
                axes.legend()

            panels.append(Markup(panel_svg(draw, f"loss of net {net} against {against}", height=2.4)))
        steps, seconds = (table["step"].max(), table["seconds"].max()) if len(table) else (None, None)
        at = table["step"].iloc[int(table["validation_loss"].argmin())] if len(validation) else None
        lowest = validation.min() if len(validation) else None
        charts.append(
            {"net": net, "panels": panels, "steps": steps, "seconds": seconds, "lowest": lowest, "at": at},
        )
    return charts


def roles(config: Mapping[str, Any]) -> dict[str, str]:
    """The role of every volume by name."""
    return {name: volume.get("role") for name, volume in (config.get("volumes") or {}).items()}
