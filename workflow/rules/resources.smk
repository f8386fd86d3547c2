"""What jobs get: resources that grow, shares of blocks, and what is planned with; no rules."""

from dataclasses import asdict

from snakemake.io import IOFile

from sparse2dense.stages.memory import SHARED, Allowance, this_machine
from sparse2dense.stages.scattering import part_records


def growing(base):
    """A resource that starts at `base` and doubles with every attempt."""
    return lambda wildcards, attempt: base * 2 ** (attempt - 1)


def parts(output):
    """An input function: the records of all jobs that share the blocks of `output`, none where one job makes it.

    An output that exists keeps those it was made from: else Snakemake would make it again when `jobs` changes.
    """

    def records(wildcards):
        made = workflow.pathvars.apply(output.format(**dict(wildcards.items())))
        if Path(made).exists():
            return [name for name in workflow.persistence.input(IOFile(made)) or [] if ".parts/" in name]
        return part_records(output, of_volume("jobs")(wildcards))

    return records


def gpu_for_blocks(wildcards):
    """A GPU for jobs that compute blocks, none for the one that gives the work of others its name."""
    return int("part" in wildcards.keys() or of_volume("jobs")(wildcards) == 1)


def allowance(name):
    """What a job of a rule gets at its first attempt; None where that depends on its input."""
    settings = getattr(rules, name).rule
    try:
        given = settings.expand_resources({"volume": VOLUMES[0], "part": "0-of-1"}, [], 1)
    except WorkflowError:
        return None  # somebody's own --set-resources with a function of the input
    if workflow.local_exec:
        return this_machine(given._cores)
    if not isinstance(given.get("mem_mb"), int):
        return None
    more = f"ask for more: --set-resources {name}:mem_mb=<MB>"
    return Allowance(given._cores, given.mem_mb, given.get("gpu", 0) > 0, f"the `mem_mb` of the rule {name}", more)


def allowances(wildcards):
    """What a job of every rule that is planned gets, as plain data."""
    from sparse2dense.stages.costs import STAGES  # its libraries take a second

    shared = {f"{name}_part" for name in [*SHARED, "import_raw"]}
    given = {name: allowance(name) for name in sorted({*shared, *STAGES})}
    return {name: asdict(one) if one is not None else None for name, one in given.items()}


def rates(wildcards):
    """What stages took in the runs beside this one, and in itself, as plain data."""
    from sparse2dense.stages.rates import measured_rates  # its libraries take a second

    here = Path(workflow.pathvars.apply("<results>"))
    return {stage: asdict(rate) for stage, rate in measured_rates(here.parent, here.name, config).items()}
