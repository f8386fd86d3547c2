# Entry point: configuration, rules in the order of the stages, default target.
from snakemake.logging import logger
from snakemake.utils import min_version

min_version("9.27")


# Not beside a --configfile of the user: Snakemake would merge the demo's volumes into theirs.
if "volumes" not in config:
    if workflow.is_main_process:
        # A target of another run, named without its file, would else only be called unknown.
        logger.warning("No volumes are configured: this is the demo. Name your own with --configfile.")

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/gathered.smk"


pathvars:
    results=f"results/{config['run']}",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


report: "workflow/report/workflow.rst"


# `resources: gpu` in profiles/default limits local runs only: on SLURM every job has its own GPU.
resource_scopes:
    gpu="local",


wildcard_constraints:
    volume=either(VOLUMES),
    track=either(["pseudo", *BOOTSTRAPPED, "baseline"]),
    threshold=r"best|chosen|agreeing|\d+|\d+\.\d*[1-9]",
    part=r"\d+-of-\d+",
    # Empty for sections across z.
    across=r"|\.[yx]",


include: "workflow/rules/data.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/disagreement.smk"
include: "workflow/rules/skeletons.smk"
include: "workflow/rules/bootstrap.smk"
include: "workflow/rules/suggest.smk"
include: "workflow/rules/reuse.smk"
include: "workflow/rules/report.smk"


# Not earlier: now it is known that jobs are to start and where, and a dry run reads no voxels; plans and reports can be
# made on any machine.
onstart:
    sizes = known_sizes(config, FOUND, Path(workflow.pathvars.apply("<results>")))
    refuse([*inspected()[0], *memory_problems(sizes, config, allowance)])


rule all:
    """Target: the report, and skeleton scores where there are skeletons; what `snakemake` alone makes."""
    default_target: True
    input:
        "<results>/report.html",
        once_chosen(SKELETON_SCORES),
