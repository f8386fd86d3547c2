"""Runs of the workflow that differ from one in what is annotated: each trains the 2D net anew, and nothing else."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).parents[1]


def configuration(files: Sequence[Path]) -> dict[str, Any]:
    """Return configuration files merged as Snakemake merges them."""
    merged: dict[str, Any] = {}
    for file in files:
        update_config(merged, yaml.safe_load(file.read_text()))
    return merged


@dataclass(frozen=True)
class Arms:
    """A run, and where others are put beside it.

    Parameters
    ----------
    configfiles
        Of the run.
    results
        Its folder; those of the arms are beside it, and what was made there before is only read.
    cores
        For Snakemake.
    dry_run
        Show what would be made, and make nothing.
    """

    configfiles: Sequence[Path]
    results: Path
    cores: str
    dry_run: bool = False

    @property
    def roles(self) -> dict[str, str]:
        """The role of every volume."""
        return {name: volume["role"] for name, volume in configuration(self.configfiles)["volumes"].items()}

    @property
    def annotated(self) -> str:
        """The first annotated volume."""
        return next(name for name, role in self.roles.items() if role == "annotated")

    @property
    def tests(self) -> list[str]:
        """The test volumes."""
        return [name for name, role in self.roles.items() if role == "test"]

    def folder(self, name: str) -> Path:
        """Return the results of an arm."""
        return self.results.parent / f"{self.results.name}_{name}"

    def run(self, name: str, volume: str, annotation: Mapping[str, Any], **changes: Any) -> list[dict[str, Any]]:
        """Run the track `pseudo` of an arm up to the scores of the test volumes; return their `best.json`.

        Parameters
        ----------
        name
            Of the arm.
        volume, annotation
            The annotated volume, and what of its `annotation` is different.
        changes
            Of the configuration besides.

        The 2D-to-3D net, which no annotation has a part in, is that of the run.
        """
        lift = {"path": str((self.results / "nets/2d_to_3d/checkpoint.pt").resolve())}
        change = {
            "run": self.folder(name).name,
            "volumes": {volume: {"annotation": dict(annotation)}},
            "nets": {"2d_to_3d": {"checkpoint": lift}},
            "evaluate": {"tracks": ["pseudo"]},
            **changes,
        }
        targets = [self.folder(name) / test / "pseudo/best.json" for test in self.tests]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(change, file)
            file.flush()
            call = [sys.executable, "-m", "snakemake", *map(str, targets), "--cores", str(self.cores)]
            call += ["--dry-run"] if self.dry_run else []
            files = [str(path.resolve()) for path in self.configfiles]
            subprocess.run([*call, "--configfile", *files, file.name], check=True, cwd=ROOT, stdout=sys.stderr)
        return [] if self.dry_run else [json.loads((ROOT / target).read_text()) for target in targets]
