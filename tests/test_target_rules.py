"""`snakemake --list-target-rules` tells what can be asked for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every rule that can be named, with what Snakemake says of it."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ("Snakefile", "workflow", "profiles", "envs", "src", "config"):
        (folder / entry).symlink_to(ROOT / entry)
    call = [sys.executable, "-m", "snakemake", "--list-target-rules"]
    result = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    lines = re.findall(r"^([a-z]\w*)(?: \((.*)\))?$", result.stdout + result.stderr, re.MULTILINE)
    return dict(lines)


def test_every_target_rule_has_a_line(described: dict[str, str]) -> None:
    """Each says in one sentence what it makes."""
    assert {"all", "check", "report"} <= set(described)
    for name, line in described.items():
        assert re.fullmatch(r"[A-Z][^\n]{10,130}\.", line), f"{name}: {line!r}"


def test_the_readme_names_all_stages(described: dict[str, str]) -> None:
    """What calls itself a target is one that README.md or docs/howto/results.md names, and the other way round."""
    targets = {name for name, line in described.items() if line.startswith("Target:")}
    readme = (ROOT / "README.md").read_text()
    assert "snakemake --list-target-rules" in readme
    stages = set(
        re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", readme[readme.index("Stages: ") :].split(". ")[0], flags=re.S))
    )
    assert stages | {"all", "paint_next"} == targets
