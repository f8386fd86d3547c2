"""Several jobs share the blocks of an output, and nobody sees it in the result."""

import shutil
from pathlib import Path

from sparse2dense.volumes.volume import open_volume
from tests.workflow.invocation import TINY, planned, snakemake, started, written

RUN = Path("results/tiny/held_out")


def test_finished_results_stay_when_the_number_of_jobs_changes(finished: Path) -> None:
    """More jobs are for work still to be done; only the report, which shows the configuration, is made again."""
    change = written(finished, {"volumes": {"held_out": {"jobs": 3}}})
    plan = snakemake(finished, "--dry-run", configfiles=(TINY, change))
    assert {job.rule for job in planned(plan)} == {"write_report", "all"}


def test_jobs_that_share_blocks_make_what_one_job_makes(finished: Path) -> None:
    """From image to segmentation, every blockwise stage made by three jobs and by a fourth that gives it its name."""
    names = ["raw", *(f"pseudo/{name}" for name in ("stacked_affinities", "stacked_descriptors", "affinities"))]
    names += ["pseudo/fragments", "pseudo/segmentation/0.5"]
    snakemake(finished, str(RUN / "pseudo/segmentation/0.5.zarr"))
    before = {name: open_volume(finished / RUN / f"{name}.zarr")[...] for name in names}
    for name in names:
        shutil.rmtree(finished / RUN / f"{name}.zarr")
    tables = {name: (finished / RUN / "pseudo" / name).read_bytes() for name in ("overlaps.parquet", "scores.csv")}
    shutil.rmtree(finished / RUN / "pseudo/graph")
    (finished / RUN / "pseudo/overlaps.parquet").unlink()
    change = written(finished, {"volumes": {"held_out": {"jobs": 3}}})
    targets = [str(RUN / "pseudo" / name) for name in ("segmentation/0.5.zarr", "scores.csv")]
    outcome = snakemake(finished, *targets, configfiles=(TINY, change))
    blockwise = ("import_raw", "predict_2d", "predict_2d_to_3d", "make_fragments", "make_graph", "count_overlaps")
    for rule in (*blockwise, "write_segmentation"):
        assert started(outcome).count(f"{rule}_part") == 3
        assert started(outcome).count(rule) == 1
    for name, values in before.items():
        assert open_volume(finished / RUN / f"{name}.zarr")[...].tobytes() == values.tobytes()
    assert {name: (finished / RUN / "pseudo" / name).read_bytes() for name in tables} == tables
    assert not list((finished / RUN).rglob("*.parts/*"))
