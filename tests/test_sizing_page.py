"""The page on sizes says what the model behind `snakemake plan` counts, and its arithmetic is right."""

import re
from functools import cache
from math import isclose, prod
from pathlib import Path
from typing import Any

import pytest

from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.costs import Cost, run_costs
from sparse2dense.stages.memory import block_plans
from sparse2dense.volumes.grid import block_grid

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/howto/sizing.md").read_text()
STAGES = re.findall(r"`(\w+)`", PAGE[PAGE.index("Counted are") : PAGE.index("with\none segmentation")])
SIDES, JOBS = (2160, 10_000, 46_416), (20, 1000, 1000)
FRAGMENTS, CONTACTS = 200e-6, 1200e-6  # of a voxel, as the page says


def row(label: str, after: str = "# ") -> list[str]:
    """The cells of the first row of a table that begins with a label, behind some text."""
    line = re.search(rf"^\| {re.escape(label)} \|(.*)\|$", PAGE[PAGE.index(after) :], re.MULTILINE)
    assert line is not None, label
    return [cell.strip() for cell in line[1].split("|")]


def numbers(label: str, after: str = "# ") -> list[float]:
    """The numbers of a row."""
    return [float(cell.replace(",", "").split()[0]) for cell in row(label, after)]


@cache
def settings(jobs: int, kind: str = "3d_mtlsd", block: tuple[int, ...] = (128, 256, 256)) -> dict[str, Any]:
    """A configuration in which one volume is followed in one track."""
    source = {"path": "image.zarr", "voxel_size": [8, 8, 8]}
    annotated = {"role": "annotated", "raw": source, "painted": source, "annotation": {"zero": "unlabelled"}}
    given = {
        "run": "sizes",
        "volumes": {"crop": annotated, "large": {"role": "test", "raw": source, "truth": source, "jobs": jobs}},
        "nets": {"3d": {"kind": kind}},
        "segment": {"block": list(block)},
        "evaluate": {"tracks": ["bootstrapped"]},
    }
    return complete(given, load_schema(ROOT / "workflow/schemas/config.schema.yaml"))


def found(side: int) -> dict[str, Any]:
    """What headers would say of a cube of bytes."""
    facts = {"shape": [side] * 3, "voxel_size": [8, 8, 8], "dtype": "uint8", "whole_sections": False, "labels": {}}
    return {"large": facts}


def counted(side: int, config: dict[str, Any]) -> list[Cost]:
    """What the stages of the page cost."""
    costs = [cost for cost in run_costs(found(side), config) if cost.subject == "large" and cost.stage in STAGES]
    assert {cost.stage for cost in costs} == set(STAGES)
    return costs


@pytest.mark.parametrize("column", range(3))
def test_jobs_files_and_disk_are_those_of_the_plan(column: int) -> None:
    """The table of what is counted, for each of the three sizes."""
    side, jobs = SIDES[column], JOBS[column]
    costs = counted(side, settings(jobs))
    stored = {cost.stage: cost.stored for cost in costs if cost.stored is not None}
    assert [numbers("side, voxels")[column], numbers("`jobs`")[column]] == [side, jobs]
    assert isclose(numbers("gigavoxel per job of a stage")[column], side**3 / jobs / 1e9, rel_tol=0.01)
    blocks = prod(block_grid((side,) * 3, (128, 256, 256)))
    assert numbers("blocks of 128 x 256 x 256")[column] == blocks
    assert numbers("jobs in all")[column] == sum(cost.jobs for cost in costs)
    assert numbers("files")[column] == sum(one.files for one in stored.values())
    total = sum(one.bytes for one in stored.values()) / 1e12
    assert isclose(numbers("TB, if nothing could be compressed")[column], total, rel_tol=0.02)
    predicted = stored["predict_3d"].bytes / 1e12
    assert isclose(numbers("TB of these: affinities and descriptors")[column], predicted, rel_tol=0.02)
    affinities = counted(side, settings(jobs, "3d_affs"))
    files = sum(cost.stored.files for cost in affinities if cost.stored is not None)
    assert numbers("files, `nets.3d.kind: 3d_affs`")[column] == files


def test_memory_is_that_of_the_plan() -> None:
    """The table of memory, for both blocks."""
    for column, block in enumerate([(128, 256, 256), (256, 512, 512)]):
        plans = {plan.rule: plan for plan in block_plans(found(2160), settings(20, block=block))}
        for label in ("make_fragments_part", "make_graph_part", "write_segmentation_part"):
            said = numbers(f"`{label}`" + (", without the table" if label.startswith("write") else ""))[column]
            assert isclose(said, plans[label].megabytes(2, False) / 1e3, abs_tol=0.06), label
    plan = plans["predict_3d_part"]
    on_gpu = row("`predict_3d_part`, by `predict.block`")[0]
    assert [float(text) for text in re.findall(r"[\d.]+", on_gpu)] == [
        round(plan.megabytes(8, True) / 1e3, 1),
        round(plan.net_bytes / 1e9, 1),
    ]
    assert numbers_of(row("`predict_3d_part` without a GPU")[0]) == [round(plan.megabytes(8, False) / 1e3, 1)]


def numbers_of(text: str) -> list[float]:
    """The numbers in a text."""
    return [float(number.replace(",", "")) for number in re.findall(r"[\d.,]*\d", text)]


def hours(text: str) -> float:
    """A duration in hours."""
    number, unit = text.split()
    return float(number) * {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "days": 24.0}[unit]


@pytest.mark.parametrize("stage", ["predict_3d", "make_fragments", "make_graph", "write_segmentation"])
def test_times_are_the_measured_rates_times_the_size(stage: str) -> None:
    """Every time in the table is that of one job's share of the voxels."""
    rate, *times = row(f"`{stage}`", "| measured, two CPU cores")
    for side, jobs, said in zip(SIDES, JOBS, times, strict=True):
        assert isclose(hours(said), side**3 / jobs / (float(rate) * 1e6) / 3600, rel_tol=0.1), said
    assert rate in (ROOT / "docs/design/scale.md").read_text() or stage == "predict_3d"


def test_the_merge_tree_needs_what_its_contacts_need() -> None:
    """Memory and time of the stage in one piece, and how far the memory of a node reaches."""

    def gigabytes(contacts: float) -> float:
        return contacts * (70 if contacts < 1.07e9 else 116) / 1e9

    scale = (ROOT / "docs/design/scale.md").read_text()
    assert "| 70 E |" in scale and "116 E" in scale and "0.36 million edges/s" in scale
    contacts = [CONTACTS * side**3 for side in SIDES]
    for said, count in zip(numbers("memory of `make_merge_tree`"), contacts, strict=True):
        assert isclose(said, gigabytes(count), rel_tol=0.06)
    for time, count in zip(row("`make_merge_tree`, one job")[1:], contacts, strict=True):
        assert isclose(hours(time), count / 0.36e6 / 3600, rel_tol=0.05)
    units = {"million": 1e6, "billion": 1e9}
    rows = re.findall(r"^\| ([\d,]+) GB.* \| ([\d.]+) (\w+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for memory, number, unit, gigavoxel in rows:
        count = float(number) * units[unit]
        assert isclose(gigabytes(count), float(memory.replace(",", "")), rel_tol=0.02)
        assert isclose(float(gigavoxel.replace(",", "")) * 1e9 * CONTACTS, count, rel_tol=0.03)
    tables = re.search(r"the first is ([\d.]+) GB, (\d+) GB and (\d+) GB", PAGE)
    assert tables is not None
    for text, side in zip(tables.groups(), SIDES, strict=True):
        assert isclose(float(text), 48 * FRAGMENTS * side**3 / 1e9, rel_tol=0.05)
