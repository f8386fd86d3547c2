"""What a run will do, as a text to read before it starts: nets and their shapes, volumes and their blocks, memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.views import ORIENTATIONS
from sparse2dense.stages.consistency import is_reused, used_nets
from sparse2dense.stages.memory import Allowance, BlockPlan, block_plans
from sparse2dense.stages.net_kinds import KINDS, NetDescription, describe_net
from sparse2dense.stages.orienting import block_unit
from sparse2dense.stages.viewing import view_margin, views_of
from sparse2dense.volumes.blockwise import atomic_file
from sparse2dense.volumes.grid import block_grid, chunk_shape, dividing_chunks, tiling

__all__ = ["plan_text", "write_plan"]

Config = Mapping[str, Any]
Found = Mapping[str, Mapping[str, Any]]
Shape = Sequence[int]
COLUMNS = ("stage", "blocks", "block", "halo", "shard", "CPUs", "needs (GB)", "gets (GB)")


def write_plan(output: Path, config: Config, found: Found, allowances: Mapping[str, Allowance | None]) -> None:
    """Write the text that `plan_text` returns to the file `output`."""
    with atomic_file(output) as file:
        file.write_text(plan_text(config, found, allowances))


def plan_text(config: Config, found: Found, allowances: Mapping[str, Allowance | None]) -> str:
    """Return the plan of a run as text: every net, then every volume with the stages that work on it in blocks.

    Parameters
    ----------
    config
        The blocks `volumes`, `nets`, `predict`, `segment`, `pseudo_truth` and `evaluate` of a configuration with its
        defaults.
    found
        Shape and voxel size (nm) of volumes by name; what is not yet downloaded is missing.
    allowances
        What a job of a rule gets, by the name of the rule; None where that isn't known.
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
        given, gives = (_by((count, *settings["input_shape"])) for count in _channels(architecture))
        rows.append(("training", f"{given} -> {gives}, {settings['batch']} at a time, padded to keep the size"))
    rows.append(("context", f"{_by(architecture.context)} voxels on each side of a predicted one"))
    for size, names in _grouped({volume: tuple(facts["voxel_size"]) for volume, facts in found.items()}):
        nm = (
            f"{side * length:g}" for side, length in zip(architecture.context, size[-architecture.ndim :], strict=True)
        )
        rows.append(("", f"{' x '.join(nm)} nm in {names}"))
    least = architecture.input_shape((1,) * architecture.ndim)
    rows.append(("valid inputs", f"{_by(least)} and more by multiples of the total pooling {_by(architecture.stride)}"))
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
        beyond = _by(view_margin(net, views)[-architecture.ndim :])
        rows.append(("views", f"the mean of {len(views)}, each of blocks up to {beyond} voxels longer"))
    if own:
        host, passing = (max(sizes) / 1e9 for sizes in zip(*((p.block_bytes, p.net_bytes) for p in own), strict=True))
        rows.append(
            ("memory", f"{host:.2f} GB for a block, {passing:.2f} GB for the net, on the GPU where there is one")
        )
    width = max(len(label) for label, _ in rows) + 2
    yield from (f"  {label:<{width}}{text}" for label, text in rows)


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
    return f"{passes}{_by((into, *architecture.input_shape(tuple(wanted))))} -> {_by((out, *wanted))} in {names}"


def _cut(architecture: Architecture, block: Shape) -> Iterator[str]:
    """Yield why the input of a pass is larger than block and context; nothing where it isn't."""
    wanted = tuple(block[-architecture.ndim :])
    given = architecture.input_shape(wanted)
    gives = tuple(side - 2 * more for side, more in zip(given, architecture.context, strict=True))
    if gives != wanted:
        yield f"the input is rounded up to a valid one; it gives {_by(gives)}, and what is beyond the block is cut off"


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
    yield f"{name}: {_by(facts['shape'])} voxels of {size} nm{shared}"
    rows: list[Sequence[str]] = [COLUMNS]
    for plan in plans:
        given = allowances.get(plan.rule)
        needs = f"{plan.megabytes(given.threads, given.gpu) / 1e3:.1f}" if given else "-"
        rows.append(
            (
                _stage(plan),
                f"{prod(block_grid(facts['shape'], plan.block)):,}",
                _by(plan.block),
                _by(plan.halo),
                _by(plan.shard) if plan.shard else "-",
                str(given.threads) if given else "-",
                needs,
                f"{given.megabytes / 1e3:.1f}" if given else "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in
                 enumerate(zip(row, widths, strict=True)))  # fmt: skip
        yield "  " + "  ".join(cells)
    for reason, stages in _grouped({_stage(plan): _reason(plan, config, facts) for plan in plans}):
        if reason:
            yield f"  {stages}: {reason}"
    if any(plan.shard for plan in plans):
        yield "  shard: one file for the chunks of a block, as they would be more than 1000 files"


def _reason(plan: BlockPlan, config: Config, facts: Config) -> str:
    """Return why a block isn't as long as configured; empty where it is."""
    section, key = plan.key.split(".")
    asked = tuple(config[section][key])
    if plan.block == asked:
        return ""
    chunks = chunk_shape(facts["shape"], facts["voxel_size"])
    change = f"{_by(plan.block)} instead of {_by(asked)} (`{plan.key}`):"
    if section == "predict":
        net = plan.rule.removesuffix("_part").removeprefix("predict_")
        pooling = used_nets(config)[net]["pooling"]
        stride = [prod(factors) for factors in zip(*pooling, strict=True)]
        axes = config["predict"]["orientations"] if net == "2d_to_3d" else [plan.across]
        unit = block_unit(stride, [ORIENTATIONS[axis] for axis in axes])
        return f"{change} whole chunks of {_by(chunks)}, and multiples of the total pooling {_by(unit)}"
    if plan.rule.startswith("make_fragments"):
        return f"{change} it covers the volume, which ends with a chunk of {_by(dividing_chunks(plan.block, chunks))}"
    return f"{change} whole chunks of {_by(tiling(facts['shape'], asked, chunks)[1])}, which no two blocks share"


def _by(shape: Iterable[int]) -> str:
    """Return sides with crosses between them."""
    return " x ".join(map(str, shape))


def _grouped(values: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield every distinct value with the names that have it."""
    for value, items in groupby(sorted(values.items(), key=lambda item: str(item[1])), key=lambda item: item[1]):
        yield value, ", ".join(name for name, _ in items)
