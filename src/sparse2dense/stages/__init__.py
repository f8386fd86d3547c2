"""What the rules of the workflow do; the only storey that knows file names and configuration values."""
