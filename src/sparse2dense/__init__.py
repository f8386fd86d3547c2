"""From a few painted 2D sections to a dense, scored 3D segmentation of a microscopy volume."""

__version__ = "0.1.0"
