#!/usr/bin/env bash
# Snakemake runs this once in the new environment, in the directory the workflow runs in.
set -euo pipefail
pip install --quiet --no-deps -e .
