"""The methods paragraph: every number in it comes from the configuration or the results, and follows them."""

import copy
import re
from pathlib import Path
from typing import Any

import yaml

from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.methods import methods_paragraph

ROOT = Path(__file__).parents[1]
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
FIB25 = complete(yaml.safe_load((ROOT / "config/fib25.yaml").read_text()), SCHEMA)
EFFORT = {"volume": "cube2", "sections": 4, "objects": 99, "voxels": 249996}
KEPT = {"volume": "cube1", "round": 1, "rows": [{"objects": 812}, {"objects": 300}, {"objects": 301}]}
POINT = {"threshold": 0.07, "interior": {"voi_sum": 0.81883, "voi_split": 0.28592, "voi_merge": 0.53291}}
SCORED = {"volume": "cube2_test", "track": "pseudo", "role": "test", "chosen": POINT}
FACTS: dict[str, Any] = {
    "efforts": [EFFORT],
    "filters": [KEPT],
    "summaries": [SCORED],
    "steps": {"2d": 4321},
    "provenance": {"versions": {"sparse2dense": "7.8.9"}, "git_commit": "0123456789abcdef+"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The configuration of FIB-25 with another value at a path of keys."""
    config = copy.deepcopy(FIB25)
    *above, last = path.split(".")
    block = config
    for key in above:
        block = block[key]
    assert last in block, path
    block[last] = value
    return config


def written(config: dict[str, Any], **facts: Any) -> str:
    text = methods_paragraph(config, **{**FACTS, **facts})
    assert text is not None
    return text


def test_the_paragraph_tells_the_run_from_image_to_score() -> None:
    text = written(FIB25)
    for sentence in (
        "cube2 (annotated, voxels of 8 × 8 × 8 nm in z, y, x), cube1 (unlabelled, voxels of 8 × 8 × 8 nm in z, y, x) "
        "and cube2_test (test, voxels of 8 × 8 × 8 nm in z, y, x) were segmented with sparse2dense 7.8.9 (commit "
        "012345678), seed 1.",
        "The annotation of cube2 was 99 objects in 4 sections, 249,996 voxels in all, taken from whole sections of "
        "dense labels.",
        "trained on the annotation alone for 4,321 steps of 8 samples of 128 × 128 voxels (AdamW, learning rate 0.001)",
        "affinities to 9 neighbours up to 9 voxels away; it was trained on synthetic labels alone for 2,500 steps of 1 "
        "sample of 16 × 96 × 96 voxels",
        "it kept 301 of 812 objects of cube1.",
        "Variation of information on cube2_test, counted over voxels at least 2 × 2 × 2 voxels (z, y, x) inside their "
        "object, was 0.819 bits for pseudo (split 0.286, merge 0.533; threshold 0.07).",
    ):
        assert sentence in text
    assert "None" not in text and "{" not in text


def numbers(text: str) -> set[str]:
    """All numbers of a text, `2D` and names apart."""
    bare = re.sub(r"\b[23]D\b|\b(?:cube\w+|sparse2dense)\b|commit \w+", "", text)
    return {number.replace(",", "") for number in re.findall(r"-?\d[\d,]*(?:\.\d+)*", bare)}


def leaves(value: Any) -> set[str]:
    """All numbers of a configuration or of results, and how many entries a list has."""
    if isinstance(value, dict):
        return set().union(*map(leaves, value.values())) if value else set()
    if isinstance(value, list):
        return set().union({str(len(value))}, *map(leaves, value))
    if isinstance(value, float):
        return {f"{value:g}", f"{value:.3f}", f"{abs(value):g}"}
    return {str(value), str(abs(value))} if isinstance(value, int) else {str(value)}


def test_no_number_is_made_up() -> None:
    known = leaves(FIB25) | leaves(FACTS)
    assert numbers(written(FIB25)) <= known
    mutex = changed("segment.fragments.method", "mutex")
    mutex["segment"]["method"] = "mutex"
    assert numbers(written(mutex)) <= known
    assert "repulsion 0.3" in written(mutex) and "-0.4" in written(mutex) and "agglomerated" not in written(mutex)


def test_every_setting_that_is_told_is_told_as_it_is() -> None:
    """Another value, another text: nothing is a default that happens to be right."""
    before = written(FIB25)
    told = (
        ("seed", 77), ("nets.2d.adjacent", 77), ("nets.2d.features", 77), ("nets.2d.growth", 77),
        ("nets.2d.sigma", [77, 5]), ("nets.2d.batch", 77), ("nets.2d.input_shape", [77, 78]),
        ("nets.2d.learning_rate", 0.77), ("nets.2d_to_3d.iterations", 77), ("nets.2d_to_3d.features", 77),
        ("nets.3d.iterations", 77), ("nets.3d.batch", 77), ("nets.3d.input_shape", [77, 78, 79]), ("rounds", 77),
        ("nets.3d.members", 77), ("segment.fragments.seed_distance", 77), ("segment.fragments.debris", 77),
        ("segment.fragments.boundary_threshold", 0.77), ("segment.fragments.minimum_affinity", 0.77),
        ("segment.merge_function", "hist_quant_77"), ("pseudo_truth.dust", 77), ("pseudo_truth.minimum_sections", 77),
        ("pseudo_truth.outlier_deviations", 7.7), ("evaluate.merge_weight", 77), ("evaluate.border", [77, 5, 5]),
        ("volumes.cube2.annotation.validation", 77), ("volumes.cube1.raw.voxel_size", [77, 4.5, 4.5]),
    )  # fmt: skip
    for path, value in told:
        after = written(changed(path, value))
        assert after.count("77") + after.count("7.7") > before.count("77") + before.count("7.7"), path
    assert "standard deviations" not in written(changed("pseudo_truth.outlier_deviations", None))
    assert "holes" not in written(changed("pseudo_truth.fill_holes", False))


def test_tracks_and_nets_that_a_run_lacks_are_not_told() -> None:
    alone = written(changed("evaluate.tracks", ["pseudo"]))
    assert "Pseudo ground truth" not in alone and "baseline" not in alone and "bootstrapped" not in alone
    reused = changed("nets.2d.checkpoint.path", "2d.pt")
    assert "it was taken as trained before." in written(reused) and "on the annotation alone" not in written(reused)
    assert "long-range affinities" in written(changed("evaluate.choose_by", "disagreement"))
    bare = written(FIB25, efforts=[], filters=[], summaries=[], steps={}, provenance={})
    assert "annotation of" not in bare and "it kept" not in bare and "5,000 steps" in bare and "0.819" not in bare
    assert methods_paragraph({"run": "nothing"}) is None
