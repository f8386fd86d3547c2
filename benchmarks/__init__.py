"""Speed and quality beside peers: each module runs by itself, all of them by `python -m benchmarks`."""
