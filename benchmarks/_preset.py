"""The nets for two CPU cores that benchmarks of training and prediction are about."""

from pathlib import Path
from typing import Any

import yaml

from sparse2dense.stages.configuration import complete, load_schema

ROOT = Path(__file__).parents[1]
VOXEL_SIZE = (8, 8, 8)
"""nm (z, y, x) of volumes for them."""


def preset_nets() -> dict[str, Any]:
    """The block `nets` of a configuration with config/presets/isotropic_cpu.yaml, defaults included."""
    annotation = {"draw": "sections", "sections": [3], "zero": "unlabelled"}
    volumes = {
        "painted": {"role": "annotated", "phantom": {"shape": [40, 80, 80]}, "annotation": annotation},
        "held_out": {"role": "test", "phantom": {"shape": [40, 80, 80], "seed": 2}},
    }
    preset = yaml.safe_load((ROOT / "config/presets/isotropic_cpu.yaml").read_text())
    nets: dict[str, Any] = complete(
        {"volumes": volumes, **preset}, load_schema(ROOT / "workflow/schemas/config.schema.yaml")
    )["nets"]
    return nets
