"""What a run will do, as a text to read before it starts: nets, volumes and their blocks, memory, and what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import inf, prod
from pathlib import Path
from textwrap import wrap
from typing import Any

from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.views import ORIENTATIONS
from sparse2dense.stages.consistency import is_reused, used_nets
from sparse2dense.stages.costs import Cost, run_costs
from sparse2dense.stages.memory import Allowance, BlockPlan, block_plans
from sparse2dense.stages.net_kinds import KINDS, NetDescription, describe_net
from sparse2dense.stages.orienting import block_unit
from sparse2dense.stages.rates import Rate
from sparse2dense.stages.text_tables import aligned, by, duration, gigabytes
from sparse2dense.stages.viewing import view_margin, views_of
from sparse2dense.volumes.grid import block_grid, chunk_shape, dividing_chunks, tiling
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["plan_text", "write_plan"]

Config = Mapping[str, Any]
Found = Mapping[str, Mapping[str, Any]]
Shape = Sequence[int]
Allowances = Mapping[str, Allowance | None]
COLUMNS = ("stage", "blocks", "block", "halo", "shard", "CPUs", "needs (GB)", "gets (GB)")
COST_COLUMNS = ("stage", "jobs", "CPUs", "GPU", "files", "disk (GB)", "time", "as measured in")
WIDTH = 118
NOTES = (
    "jobs: of a whole run, but for those of tables, pictures and the report, which take seconds each, and for what is "
    "made only when asked for. A stage that several jobs share has one more, which gives the result its name.",
    "files, disk: at most, as if nothing could be compressed. -: follows from the data; with tables of fragments and "
    "nets this is mostly little beside the volumes.",
    "time: of all jobs one after another, by what a run has measured for as many voxels or steps. Other CPUs, another "
    "GPU and other settings take another time. -: no run with such nets has measured it.",
)


def write_plan(
    output: Path, config: Config, found: Found, allowances: Allowances, rates: Mapping[str, Rate] | None = None
) -> None:
    """Write the text that `plan_text` returns to the file `output`."""
    with atomic_file(output) as file:
        file.write_text(plan_text(config, found, allowances, rates))


def plan_text(config: Config, found: Found, allowances: Allowances, rates: Mapping[str, Rate] | None = None) -> str:
    """Return the plan of a run as text: nets, volumes with the stages that work on them in blocks, and all costs.

    Parameters
    ----------
    config
        The blocks `volumes`, `nets`, `predict`, `segment`, `pseudo_truth` and `evaluate` of a configuration with its
        defaults.
    found
        Shape and voxel size (nm) of volumes by name; what is not yet downloaded is missing.
    allowances
        What a job of a rule gets, by the name of the rule; None where that isn't known.
    rates
        What stages took in earlier runs: see `rates.measured_rates`.
    """
    plans = block_plans(found, config)
    sections = ["NETS, with shapes (channels, z, y, x)"]
    sections += ["\n".join(_net_lines(name, config, found, plans)) for name in used_nets(config)]
    sections.append("VOLUMES, with lengths (z, y, x) in voxels")
    for name in config["volumes"]:
        if name in found:
            own = [plan for plan in plans if plan.volume == name]
            sections.append("\n".join(_volume_lines(name, config, found[name], own, allowances)))
        else:
            sections.append(f"{name}: not known before it is downloaded")
    sections.append("\n".join(_cost_lines(config, found, allowances, rates or {})))
    return "\n\n".join(sections) + "\n"


def _net_lines(name: str, config: Config, found: Found, plans: Sequence[BlockPlan]) -> Iterator[str]:
    """Yield what there is to say of a net: what it is, and the shapes that it takes and gives."""
    nets = used_nets(config)
    settings, lifts = nets[name], name == "2d_to_3d"
    net = describe_net(settings, section_settings=nets["2d"] if lifts else None)
    architecture = net.architecture
    source = settings["checkpoint"]["path"] or settings["checkpoint"]["url"]
    origin = f"reused from {source}" if is_reused(settings) else "trained in this run"
    yield f"{name}: {settings['kind']}, {origin}"
    rows = [("weights", f"{architecture.weights:,}"), ("input", _inputs(net)), ("output", _outputs(architecture))]
    if not is_reused(settings):
        given, gives = (by((count, *settings["input_shape"])) for count in _channels(architecture))
        rows.append(("training", f"{given} -> {gives}, {settings['batch']} at a time, padded to keep the size"))
    rows.append(("context", f"{by(architecture.context)} voxels on each side of a predicted one"))
    for size, names in _grouped({volume: tuple(facts["voxel_size"]) for volume, facts in found.items()}):
        nm = (
            f"{side * length:g}" for side, length in zip(architecture.context, size[-architecture.ndim :], strict=True)
        )
        rows.append(("", f"{' x '.join(nm)} nm in {names}"))
    least = architecture.input_shape((1,) * architecture.ndim)
    rows.append(("valid inputs", f"{by(least)} and more by multiples of the total pooling {by(architecture.stride)}"))
    own = [plan for plan in plans if plan.rule.removesuffix("_part") == f"predict_{name}"]
    written = {
        plan.volume: tuple(map(min, plan.block, found[plan.volume]["shape"])) for plan in own if plan.across == "z"
    }
    for block, names in _grouped(written):
        rows += [("prediction", _pass(architecture, block, names)), *(("", line) for line in _cut(architecture, block))]
    if settings["members"] > 1:
        rows.append(("members", f"{settings['members']}, each with a seed of its own; the mean of what they predict"))
    rows += _sections_row(name, config)
    views = views_of(net, config["predict"]["flips"], config["predict"]["transpose"])
    if len(views) > 1:
        beyond = by(view_margin(net, views)[-architecture.ndim :])
        rows.append(("views", f"the mean of {len(views)}, each of blocks up to {beyond} voxels longer"))
    if own:
        host, passing = (max(sizes) / 1e9 for sizes in zip(*((p.block_bytes, p.net_bytes) for p in own), strict=True))
        rows.append(
            ("memory", f"{host:.2f} GB for a block, {passing:.2f} GB for the net, on the GPU where there is one")
        )
    width = max(len(label) for label, _ in rows) + 2
    for label, text in rows:
        for number, line in enumerate(wrap(text, WIDTH - width - 2, break_long_words=False, break_on_hyphens=False)):
            yield f"  {label if number == 0 else '':<{width}}{line}"


def _sections_row(name: str, config: Config) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of sections across several axes, where a net predicts or reads them."""
    axes = [axis for axis in ORIENTATIONS if axis in config["predict"]["orientations"]]
    listed = f"{', '.join(axes[:-1])} and {axes[-1]}"
    if name == "2d" and len(axes) > 1:
        yield "sections", f"across {listed}: {len(axes)} stacks of every volume"
    elif name == "2d_to_3d" and len(axes) > 1:
        yield "sections", f"across {listed}: the mean of what it makes of {len(axes)} stacks"


def _stage(plan: BlockPlan) -> str:
    """Return the stage that a plan is of, without what is the same for all its jobs."""
    stage = plan.rule.removesuffix("_part")
    return stage if plan.across == "z" else f"{stage} across {plan.across}"


def _pass(architecture: Architecture, block: Shape, names: str) -> str:
    """Return the shapes of one pass of a net over a whole block of some volumes."""
    wanted, passes = (block[1:], f"{block[0]} sections, each ") if architecture.ndim == 2 else (block, "")
    into, out = _channels(architecture)
    return f"{passes}{by((into, *architecture.input_shape(tuple(wanted))))} -> {by((out, *wanted))} in {names}"


def _cut(architecture: Architecture, block: Shape) -> Iterator[str]:
    """Yield why the input of a pass is larger than block and context; nothing where it isn't."""
    wanted = tuple(block[-architecture.ndim :])
    given = architecture.input_shape(wanted)
    gives = tuple(side - 2 * more for side, more in zip(given, architecture.context, strict=True))
    if gives != wanted:
        yield f"the input is rounded up to a valid one; it gives {by(gives)}, and what is beyond the block is cut off"


def _inputs(net: NetDescription) -> str:
    """Say what the input channels of a net are."""
    kind, channels = KINDS[net.kind], net.architecture.in_channels
    if kind.source == "2d":
        return f"{channels} channels: stacked {' and '.join(kind.inputs)} of the 2D net"
    if kind.source is not None:
        image = " and the image" if "raw" in kind.inputs else ""
        return f"{channels} channels: descriptors of the net {kind.source}{image}"
    return (
        f"{channels} channels: a section and {net.adjacent} on either side"
        if kind.ndim == 2
        else "1 channel: the image"
    )


def _channels(architecture: Architecture) -> tuple[int, int]:
    """Return how many channels a net takes and gives."""
    return architecture.in_channels, sum(architecture.heads.values())


def _outputs(architecture: Architecture) -> str:
    """Say what the output channels of a net are."""
    heads = ", ".join(f"{count} {name}" for name, count in architecture.heads.items())
    return f"{sum(architecture.heads.values())} channels: {heads}"


def _volume_lines(
    name: str, config: Config, facts: Config, plans: Sequence[BlockPlan], allowances: Mapping[str, Allowance | None]
) -> Iterator[str]:
    """Yield the table of the stages of a volume, and a line on every block that isn't as configured."""
    size = " x ".join(f"{length:g}" for length in facts["voxel_size"])
    jobs = config["volumes"][name]["jobs"]
    shared = f", each stage shared by {jobs} jobs" if jobs > 1 else ""
    yield f"{name}: {by(facts['shape'])} voxels of {size} nm{shared}"
    rows: list[Sequence[str]] = [COLUMNS]
    for plan in plans:
        given = allowances.get(plan.rule)
        needs = f"{plan.megabytes(given.threads, given.gpu) / 1e3:.1f}" if given else "-"
        rows.append(
            (
                _stage(plan),
                f"{prod(block_grid(facts['shape'], plan.block)):,}",
                by(plan.block),
                by(plan.halo),
                by(plan.shard) if plan.shard else "-",
                str(given.threads) if given else "-",
                needs,
                f"{given.megabytes / 1e3:.1f}" if given else "-",
            )
        )
    yield from aligned(rows)
    for reason, stages in _grouped({_stage(plan): _reason(plan, config, facts) for plan in plans}):
        if reason:
            yield from _wrapped(f"{stages}: {reason}")
    if any(plan.shard for plan in plans):
        yield "  shard: one file for the chunks of a block, as they would be more than 1000 files"


def _cost_lines(config: Config, found: Found, allowances: Allowances, rates: Mapping[str, Rate]) -> Iterator[str]:
    """Yield a table of what every stage costs in all volumes together, the sums of each volume, and what they mean."""
    costs = run_costs(found, config)
    yield f"COSTS of {', '.join(found)}" if found else "COSTS"
    rows: list[Sequence[str]] = [COST_COLUMNS]
    labels = {cost.stage: {other.subject for other in costs if other.stage == cost.stage} for cost in costs}
    groups: dict[tuple[str, str], list[Cost]] = {}
    for cost in costs:
        trained = cost.stage.startswith("train_")
        label = f"{cost.stage} ({cost.subject})" if trained and len(labels[cost.stage]) > 1 else cost.stage
        groups.setdefault((label, f"train_{cost.subject}" if trained else cost.stage), []).append(cost)
    times = [_time(own, rates.get(key)) for (_, key), own in groups.items()]
    for ((label, key), own), seconds in zip(groups.items(), times, strict=True):
        given = allowances.get(f"{own[0].stage}_part", allowances.get(own[0].stage))
        uses_gpu = own[0].stage.startswith(("train_", "predict_"))
        rows.append(
            (
                label,
                f"{sum(cost.jobs for cost in own):,}",
                str(given.threads) if given else "-",
                str(int(uses_gpu and given.gpu)) if given else "-",
                *_size(own),
                duration(seconds) if seconds is not None else "-",
                rates[key].run if seconds is not None else "-",
            )
        )
    known = sum(seconds for seconds in times if seconds is not None)
    more = "+" if None in times else ""
    total = duration(known) + more if any(seconds is not None for seconds in times) else "-"
    rows.append(("all", f"{sum(cost.jobs for cost in costs):,}", "", "", *_size(costs), total, ""))
    yield from aligned(rows)
    for name in found:
        own = [cost for cost in costs if cost.subject == name]
        files, size = _size(own)
        yield f"  {name}: {sum(cost.jobs for cost in own):,} jobs, at most {files} files and {size} GB"
    for note in NOTES:
        yield from _wrapped(note)


def _time(costs: Sequence[Cost], rate: Rate | None) -> float | None:
    """Return seconds of all jobs of a stage; None where nobody has measured it, or there are none."""
    if rate is None or not any(cost.jobs for cost in costs):
        return None
    limits = (inf if cost.most_seconds is None else cost.most_seconds for cost in costs)
    return sum(min(cost.work * rate.seconds / rate.work, limit) for cost, limit in zip(costs, limits, strict=True))


def _size(costs: Sequence[Cost]) -> tuple[str, str]:
    """Return files and GB of all costs that are known; `-` where none is."""
    stored = [cost.stored for cost in costs if cost.stored is not None]
    if not stored:
        return "-", "-"
    return f"{sum(one.files for one in stored):,}", gigabytes(sum(one.bytes for one in stored))


def _wrapped(text: str) -> Iterator[str]:
    """Yield the lines of a sentence, those that follow the first one further in."""
    for number, line in enumerate(wrap(text, WIDTH - 4, break_long_words=False, break_on_hyphens=False)):
        yield f"  {line}" if number == 0 else f"    {line}"


def _reason(plan: BlockPlan, config: Config, facts: Config) -> str:
    """Return why a block isn't as long as configured; empty where it is."""
    section, key = plan.key.split(".")
    asked = tuple(config[section][key])
    if plan.block == asked:
        return ""
    chunks = chunk_shape(facts["shape"], facts["voxel_size"])
    change = f"{by(plan.block)} instead of {by(asked)} (`{plan.key}`):"
    if section == "predict":
        net = plan.rule.removesuffix("_part").removeprefix("predict_")
        pooling = used_nets(config)[net]["pooling"]
        stride = [prod(factors) for factors in zip(*pooling, strict=True)]
        axes = config["predict"]["orientations"] if net == "2d_to_3d" else [plan.across]
        unit = block_unit(stride, [ORIENTATIONS[axis] for axis in axes])
        return f"{change} whole chunks of {by(chunks)}, and multiples of the total pooling {by(unit)}"
    if plan.rule.startswith("make_fragments"):
        return f"{change} it covers the volume, which ends with a chunk of {by(dividing_chunks(plan.block, chunks))}"
    return f"{change} whole chunks of {by(tiling(facts['shape'], asked, chunks)[1])}, which no two blocks share"


def _grouped(values: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield every distinct value with the names that have it."""
    for value, items in groupby(sorted(values.items(), key=lambda item: str(item[1])), key=lambda item: item[1]):
        yield value, ", ".join(name for name, _ in items)
