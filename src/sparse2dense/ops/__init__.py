"""Pure functions of arrays and tensors: no paths, no configuration."""
