"""One trainer for every net: samples in, a checkpoint that describes itself out, resumable at any step."""

import csv
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from sparse2dense.errors import InputError
from sparse2dense.ops.averaging import average_weights
from sparse2dense.ops.losses import masked_cross_entropy, masked_square_error
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.batch_targets import batch_targets
from sparse2dense.stages.net_kinds import NetDescription
from sparse2dense.stages.nets import fastest, memory_format, save_net
from sparse2dense.stages.samples import AnnotatedSamples, Sample, Samples, Targets
from sparse2dense.stages.snapshots import draw_snapshot
from sparse2dense.stages.training_group import Group, group_of_this_process
from sparse2dense.stages.training_plan import TrainingPlan
from sparse2dense.volumes.progress import Progress
from sparse2dense.volumes.provenance import content_hash, provenance
from sparse2dense.volumes.replacing import atomic_file, partial_path

__all__ = ["TrainingOutputs", "as_batch", "batch_loss", "makes_targets", "precision", "train"]

log = logging.getLogger(__name__)

LOSSES = {"descriptors": masked_square_error, "affinities": masked_cross_entropy}
# A squared error of descriptors is far smaller than a cross entropy of affinities at the same quality.
LOSS_WEIGHTS = {"descriptors": 10.0, "affinities": 1.0}
FIELDS = ("step", "seconds", "loss", "validation_loss")
STATE = 2
"""Number of what is saved of a training under way: an attempt that saved something else can't be gone on from."""


@dataclass(frozen=True)
class TrainingOutputs:
    """The files that a training leaves."""

    checkpoint: Path
    losses: Path
    snapshots: Path
    tensorboard: Path


class _Steps(Dataset):
    """The samples of a training in the order of their use, from those of step `first` on.

    Of the samples of a step every process of a group has an equal share, those of the first come first.
    """

    def __init__(self, samples: Samples, plan: TrainingPlan, first: int, group: Group) -> None:
        self.samples, self.plan, self.first, self.group = samples, plan, first, group

    @property
    def batch(self) -> int:
        """Samples of a step that are this process's."""
        return self.plan.batch // self.group.size

    def __len__(self) -> int:
        return (self.plan.iterations - self.first) * self.batch

    def __getitem__(self, index: int) -> dict[str, Any]:
        step, place = divmod(index, self.batch)
        number = (self.first + step) * self.plan.batch + self.group.rank * self.batch + place
        return vars(self.samples.draw(np.random.default_rng([self.plan.seed, number])))


def precision() -> str:
    """The arithmetic to train in: bfloat16 where the processor computes it natively, else float32."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    able = torch.cpu.get_capabilities()
    return "bf16-mixed" if able.get("avx512_bf16") or able.get("amx_bf16") else "32-true"


def makes_targets(device: torch.device) -> bool:
    """Whether the device of the net makes targets faster than the processes that load samples."""
    return device.type == "cuda"


def train(
    description: NetDescription,
    samples: Samples,
    validation: Sequence[Sample],
    plan: TrainingPlan,
    outputs: TrainingOutputs,
    *,
    key: Mapping[str, Any],
) -> None:
    """Train a net and write its best checkpoint, its losses and pictures of what it answers.

    Everything is kept beside the checkpoint in `<folder>.partial` until training is over; another training with the
    same `key` goes on from there, one with another key starts afresh. Where the net is on a GPU, it makes the targets
    of annotated samples too. Processes of a group (`training_group`) share the samples of every step; the first of
    them writes.

    Parameters
    ----------
    validation
        Samples never trained on; the checkpoint with the lowest loss on them is kept.
    key
        Everything that decides the outcome beside the code: settings and the identity of the inputs.
    """
    folder, group = partial_path(outputs.checkpoint.parent), group_of_this_process()
    if plan.batch % group.size:
        raise InputError(
            f"a batch of {plan.batch} for {group.size} GPUs",
            allowed=f"a multiple of {group.size}",
            remedy="change `batch` or `devices` of this net",
        )
    # How many processes load samples changes nothing, so a training may go on with other `--cores`.
    decisive = {name: value for name, value in asdict(plan).items() if name != "loaders"}
    if group.rank == 0:
        _prepare(folder, content_hash({**key, "plan": decisive, "net": asdict(description), "state": STATE}))
    fabric = _fabric(group)
    fabric.barrier()
    torch.manual_seed(plan.seed)
    net = UNet(description.architecture)
    if group.size > 1 and fabric.device.type == "cuda":
        net = torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    if plan.channels_last:
        net = fastest(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.learning_rate, weight_decay=1e-4)
    run = _Run(folder, net, optimiser, plan, fabric)
    compiled: Any = torch.compile(net) if plan.compile else net
    model, optimiser = fabric.setup(compiled, optimiser)
    targets = None
    if isinstance(samples, AnnotatedSamples) and makes_targets(fabric.device):
        samples, targets = samples.without_targets(), samples.targets
    judged = fabric.to_device(run.averaged) if run.averaged is not None else compiled
    run.restore()  # after the nets have moved to their device, whither the state of the optimiser follows them
    held_out = [as_batch([vars(sample)]) for sample in validation]
    label = f"train {outputs.checkpoint.parent.name}"
    with Progress(label, plan.iterations, done=run.step) as progress, _board(folder, run.step, group) as board:
        for batch in run.awaited(_batches(samples, plan, run.step, fabric.device, group)):
            if run.out_of_time():
                log.info("%s: stopped after %g minutes as configured", label, plan.minutes)
                break
            if run.out_of_patience():
                log.info("%s: stopped after %d validations without improvement", label, run.unimproved)
                break
            loss = _step(fabric, model, optimiser, batch, run, targets)
            progress.advance(note=f"loss {run.mean_loss:.4f}")
            if run.step % plan.validate_every == 0 or run.step == plan.iterations:
                run.validate(judged, held_out, description)
                if board:
                    board.add_scalar("loss/training", run.mean_loss, run.step)
                    board.add_scalar("loss/validation", run.validation_loss, run.step)
            elif board and run.step % 10 == 0:
                board.add_scalar("loss/step", loss, run.step)
            if run.step % plan.checkpoint_every == 0:
                run.save()
        if run.step % plan.validate_every and run.step != plan.iterations:
            run.validate(judged, held_out, description)
    share = run.waiting / max(run.waiting + run.stepping, 1e-9)
    log.info("%s: %.1f %% of the time of a step was spent waiting for samples", label, 100 * share)
    if group.rank == 0:
        _finish(folder, outputs, description, run, key)
    fabric.barrier()  # the first process ends the others


def _fabric(group: Group) -> Fabric:
    """The means to train by, in a group those of all its processes."""
    # Fabric starts no processes, and within a cluster's job would look for its neighbours.
    settings: dict[str, Any] = {"precision": precision(), "plugins": LightningEnvironment()}
    strategy = "ddp" if group.size > 1 else "auto"
    fabric = Fabric(accelerator="auto", devices=group.size, strategy=strategy, **settings)
    group.connect("nccl" if fabric.device.type == "cuda" else "gloo")
    fabric.launch()
    return fabric


def _board(folder: Path, step: int, group: Group) -> AbstractContextManager[SummaryWriter | None]:
    """The curves of TensorBoard, which the first process of a group draws."""
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1) if group.rank == 0 else nullcontext()


class _Run:
    """The state of a training, on disk and in memory."""

    def __init__(
        self, folder: Path, net: UNet, optimiser: torch.optim.Optimizer, plan: TrainingPlan, fabric: Fabric
    ) -> None:
        self.folder, self.net, self.optimiser, self.plan, self.fabric = folder, net, optimiser, plan, fabric
        self.averaged = None if plan.average is None else deepcopy(net).requires_grad_(False)
        self.step, self.seconds, self.best, self.unimproved = 0, 0.0, float("inf"), 0
        self.mean_loss, self.validation_loss = 0.0, float("inf")
        self.kept: dict[str, Any] = {}
        self.waiting, self.stepping = 0.0, 0.0  # seconds, for samples and in steps
        self.rows: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def elapsed(self) -> float:
        """Seconds spent, those of earlier attempts included."""
        return self.seconds + time.monotonic() - self._since

    def counted(self) -> float:
        """Seconds by which all processes of a group decide: where it matters, those of the first."""
        return self.elapsed() if self.plan.minutes is None else self.fabric.broadcast(self.elapsed())

    def out_of_time(self) -> bool:
        """Whether the minutes of the plan are over; not before there is a step to show for them."""
        return self.plan.minutes is not None and self.step > 0 and self.counted() >= 60 * self.plan.minutes

    def out_of_patience(self) -> bool:
        """Whether the plan's number of validations in a row brought no improvement."""
        return self.plan.patience is not None and self.unimproved >= self.plan.patience

    def awaited(self, batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield batches and note how long they are waited for, but for the first one: loading begins with it."""
        yield from islice(batches, 1)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waiting += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def record(self, loss: float) -> None:
        """Count a step and its loss."""
        self.step += 1
        self.mean_loss = loss if self.step == 1 else 0.98 * self.mean_loss + 0.02 * loss
        if self.step % 10 == 0 or self.step == 1:
            self.rows.append({"step": self.step, "seconds": round(self.elapsed(), 2), "loss": self.mean_loss})

    def validate(self, net: Any, held_out: Sequence[dict], description: NetDescription) -> None:
        """Measure the loss on the held-out samples, keep the net where it is the best so far, draw a snapshot."""
        loss = self._judge(net, held_out, description) if self.fabric.is_global_zero else float("inf")
        self.validation_loss = self.fabric.broadcast(loss)
        row = {"step": self.step, "seconds": round(self.elapsed(), 2), "loss": self.mean_loss}
        self.rows = [r for r in self.rows if r["step"] != self.step]
        self.rows.append({**row, "validation_loss": self.validation_loss})
        log.info("step %d: loss %.4f, validation %.4f", self.step, self.mean_loss, self.validation_loss)
        self.unimproved += 1
        if self.validation_loss < self.best:
            self.best, self.unimproved = self.validation_loss, 0
            kept = self.net if self.averaged is None else self.averaged
            weights = {name: value.detach().cpu().clone() for name, value in kept.state_dict().items()}
            self.kept = {"weights": weights, "step": self.step}

    def _judge(self, net: Any, held_out: Sequence[dict], description: NetDescription) -> float:
        """Return the mean loss on the held-out samples; draw what the net answers to the first of them."""
        net.eval()
        losses = []
        with torch.no_grad():
            for number, batch in enumerate(held_out):
                moved = self.fabric.to_device(batch)
                with self.fabric.autocast():
                    answer = net(moved["input"])
                answer = {head: value.float() for head, value in answer.items()}
                losses.append(float(batch_loss(answer, moved)))
                if number == 0:
                    shown = {name: value.sigmoid().cpu() for name, value in answer.items()}
                    draw_snapshot(self.folder / "snapshots.png", batch, shown, description, self.step)
        net.train()
        return float(np.mean(losses))

    def save(self) -> None:
        """Write everything needed to go on from here, atomically; of a group the first process does."""
        if not self.fabric.is_global_zero:
            return
        counters = {name: getattr(self, name) for name in _COUNTERS} | {"seconds": self.elapsed()}
        state = {
            "weights": self.net.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "counters": counters,
            "kept": self.kept,
            "rows": self.rows,
        }
        with atomic_file(self.folder / "state.pt") as partial:
            torch.save(state, partial)

    def restore(self) -> None:
        """Go on from the last saved state, where there is one."""
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state["weights"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        self.kept, self.rows = state["kept"], state["rows"]
        for name, value in state["counters"].items():
            setattr(self, name, value)
        log.info("going on from step %d", self.step)


_COUNTERS = ("step", "seconds", "best", "unimproved", "mean_loss", "validation_loss", "waiting", "stepping")


def _prepare(folder: Path, stamp: str) -> None:
    """Keep an earlier attempt with the same stamp, discard any other."""
    mark = folder / "stamp"
    if folder.exists() and not (mark.exists() and mark.read_text() == stamp):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(stamp)


def _batches(
    samples: Samples, plan: TrainingPlan, first: int, device: torch.device, group: Group
) -> Iterator[dict[str, Any]]:
    steps = _Steps(samples, plan, first, group)
    return iter(
        DataLoader(
            steps,
            batch_size=steps.batch,
            num_workers=plan.loaders,
            prefetch_factor=4 if plan.loaders else None,
            collate_fn=as_batch,
            worker_init_fn=_one_thread,
            pin_memory=device.type == "cuda",  # a GPU fetches such batches by itself, while this process goes on
        )
    )


def _one_thread(_: int) -> None:
    """Keep a loading process to one thread: libraries that start one per core would fight for them with the net."""
    threadpool_limits(1)


def as_batch(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack the fields of samples as tensors; dictionaries of heads are stacked head by head."""
    first = samples[0]
    return {
        name: as_batch([sample[name] for sample in samples])
        if isinstance(first[name], dict)
        else torch.from_numpy(np.stack([sample[name] for sample in samples]))
        for name in first
    }


def batch_loss(answer: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> torch.Tensor:
    """The loss of a net's answer to a batch: the weighted sum over its heads."""
    losses = [
        LOSS_WEIGHTS[head] * LOSSES[head](value, batch["targets"][head], batch["weights"][head])
        for head, value in answer.items()
    ]
    return torch.stack(losses).sum()


def _step(
    fabric: Fabric, model: Any, optimiser: Any, batch: dict[str, Any], run: _Run, targets: Targets | None
) -> float:
    """One optimiser step, with the learning rate of the plan's schedule; makes the `targets` that are left to it."""
    plan, start, seconds = run.plan, time.perf_counter(), run.counted()
    for group in optimiser.param_groups:
        group["lr"] = plan.learning_rate_at(run.step, seconds)
    batch = fabric.to_device(batch)
    if targets is not None:
        batch["targets"], batch["weights"] = batch_targets(targets, batch["annotation"])
    if plan.channels_last:
        batch["input"] = batch["input"].contiguous(memory_format=memory_format(batch["input"].ndim - 2))
    optimiser.zero_grad(set_to_none=True)
    loss = batch_loss(model(batch["input"]), batch)
    fabric.backward(loss)
    if plan.clip is not None:
        # Gradients that aren't finite make the next loss so: seen below, without a second wait for the device.
        fabric.clip_gradients(model, optimiser, max_norm=plan.clip, error_if_nonfinite=False)
    optimiser.step()
    mean: Any = fabric.all_reduce(loss.detach())  # of a group
    value, number = float(mean), run.step + 1
    if not isfinite(value):
        raise InputError(
            f"the loss of step {number} is {value}",
            allowed="finite losses",
            remedy="lower `learning_rate`, or limit gradients by `clip`",
        )
    run.record(value)
    if run.averaged is not None and plan.average is not None:
        average_weights(run.averaged.state_dict(), run.net.state_dict(), plan.average, run.step)
    run.stepping += time.perf_counter() - start
    return value


def _finish(
    folder: Path, outputs: TrainingOutputs, description: NetDescription, run: _Run, key: Mapping[str, Any]
) -> None:
    """Give the results their names; the working folder goes last, so that a kill in between costs nothing."""
    run.save()
    run.net.load_state_dict(run.kept["weights"])
    record = provenance("train", {**key, "step": run.kept["step"], "validation_loss": run.best}, {}, run.elapsed())
    record["run"] |= {name: round(getattr(run, name), 3) for name in ("stepping", "waiting")}
    save_net(outputs.checkpoint, run.net, description, record)
    with atomic_file(outputs.losses) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        writer.writeheader()
        writer.writerows(run.rows)
    with atomic_file(outputs.snapshots) as partial:
        shutil.copyfile(folder / "snapshots.png", partial)
    shutil.rmtree(outputs.tensorboard, ignore_errors=True)
    shutil.copytree(folder / "tensorboard", outputs.tensorboard)
    log.info("best step %d: %s", run.kept["step"], json.dumps({"validation_loss": run.best}))
    shutil.rmtree(folder)
