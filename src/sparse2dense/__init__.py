"""From a few painted 2D sections to a dense, scored 3D segmentation of a microscopy volume."""

import os

__version__ = "0.1.0"

# Arithmetic threads that spin while they wait take the cores from the processes that load samples: on two cores a
# training step is then several times slower. Read when the OpenMP library is loaded, hence here, before anything else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
