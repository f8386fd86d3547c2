#!/usr/bin/env bash
# Snakemake runs a copy of this once in the new environment, in the directory of the run, which may be any (--directory);
# workflow/rules/common.smk says where the project lies.
set -euo pipefail
pip install --quiet --no-deps -e "$SPARSE2DENSE_SOURCE"
