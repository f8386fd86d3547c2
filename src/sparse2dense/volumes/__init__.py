"""Volumes on disk: OME-Zarr in and out, blocks, and work over blocks that can be resumed."""
