"""How a net is trained: every option does what it says, and none keeps a killed training from going on exactly."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from sparse2dense.errors import InputError
from sparse2dense.ops.averaging import average_weights
from sparse2dense.ops.schedules import learning_rate_factor
from sparse2dense.ops.unet import UNet
from sparse2dense.stages import trainer
from sparse2dense.stages.net_kinds import NetDescription, describe_net
from sparse2dense.stages.nets import load_net
from sparse2dense.stages.samples import Sample
from sparse2dense.stages.trainer import train
from sparse2dense.stages.training import train_lift
from sparse2dense.stages.training_plan import TrainingPlan
from tests.test_training import LIFT, SECTION, Interrupted, outputs, painted, samples

SHORT: dict[str, Any] = {
    "iterations": 10,
    "batch": 2,
    "learning_rate": 1e-3,
    "validate_every": 4,
    "checkpoint_every": 3,
    "seed": 3,
    "loaders": 0,
}
# Such a training, of a net without normalisation, never improves.
STILL: dict[str, Any] = {"learning_rate": 1e-30, "validate_every": 2, "iterations": 16}
HELD_OUT = [samples(painted(1)).draw(np.random.default_rng(9))]


def net(**changes: Any) -> NetDescription:
    """A tiny net."""
    return describe_net(SECTION | changes, voxel_size=(8, 8, 8))


def run(folder: Path, source: Any = None, description: NetDescription | None = None, **options: Any) -> pd.DataFrame:
    """Train with `options` and return the losses."""
    plan = TrainingPlan(**SHORT | options)
    train(description or net(), source or samples(painted()), HELD_OUT, plan, outputs(folder), key={})
    return pd.read_csv(folder / "losses.csv").drop(columns="seconds")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> dict[str, SimpleNamespace]:
    """What every training was when it ended, before its best weights replace its last: by the name of its folder."""
    found = {}
    finish = trainer._finish

    def watched(folder: Path, files: Any, description: Any, run: Any, key: Any) -> None:
        found[files.checkpoint.parent.name] = SimpleNamespace(
            step=run.step,
            weights=deepcopy(run.net.state_dict()),
            averaged=deepcopy(run.averaged.state_dict()) if run.averaged is not None else None,
            optimiser=deepcopy(run.optimiser.state_dict()),
        )
        finish(folder, files, description, run, key)

    monkeypatch.setattr(trainer, "_finish", watched)
    return found


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation without a C++ compiler: the net is traced as ever, as one graph, and the graph run as it is."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "constant", "warmup": 7, "clip": None},
        {"warmup": 0, "clip": 0.01, "average": 0.9, "channels_last": False},
        {"average": 0.5, "compile": True},
        {**STILL, "patience": 3, "description": net(normalization="none")},
    ],
    ids=lambda options: ", ".join(options),
)
def test_a_killed_training_ends_as_an_undisturbed_one(
    tmp_path: Path, ended: dict[str, SimpleNamespace], options: dict[str, Any]
) -> None:
    """Killed twice, a training with any options gives the same losses, weights, averages and optimiser."""
    whole = run(tmp_path / "whole", **options)
    for limit in (9, 9):  # draws: within the fifth step; after the third, which was saved, within the eighth
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", Interrupted(limit), **options)
        assert not (tmp_path / "broken").exists()
    pd.testing.assert_frame_equal(run(tmp_path / "broken", **options), whole)
    torch.testing.assert_close(vars(ended["broken"]), vars(ended["whole"]), rtol=0, atol=0)
    a, b = (load_net(tmp_path / name / "checkpoint.pt")[0].state_dict() for name in ("whole", "broken"))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_patience_ends_a_training_that_no_longer_improves(
    tmp_path: Path, ended: dict[str, SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the best validation so many follow, no step more, not even when the job is killed as it ends."""
    options: dict[str, Any] = {**STILL, "patience": 2, "description": net(normalization="none")}

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "save_net", killed)
        run(tmp_path / "net", **options)
    assert ended.pop("net").step == 6
    losses = run(tmp_path / "net", **options)
    assert ended["net"].step == 6
    assert losses.step.max() == 6
    checkpoint = torch.load(tmp_path / "net/checkpoint.pt", weights_only=True)
    assert checkpoint["provenance"]["settings"]["step"] == 2


class Failing(Interrupted):
    """Samples whose process fails after so many draws."""

    def draw(self, rng: np.random.Generator) -> Sample:
        """A sample, or the failure."""
        if self.drawn == self.limit:
            raise OSError("gone")
        return super().draw(rng)


def test_processes_that_load_samples_change_nothing(tmp_path: Path) -> None:
    """Two of them, of which one fails, and two again: losses and weights are those of a training without any."""
    whole = run(tmp_path / "whole")
    with pytest.raises(OSError, match="gone"):
        run(tmp_path / "broken", Failing(5), loaders=2)  # each draws every other batch: step 5 finds no sample
    assert not (tmp_path / "broken").exists()
    pd.testing.assert_frame_equal(run(tmp_path / "broken", loaders=2), whole)
    a, b = (load_net(tmp_path / name / "checkpoint.pt")[0].state_dict() for name in ("whole", "broken"))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_minutes_end_a_training_after_a_step(tmp_path: Path) -> None:
    """Even where they were over before the first sample came, there is a net that was validated."""
    losses = run(tmp_path / "net", minutes=1e-9)
    assert losses.step.tolist() == [1]
    assert losses.validation_loss.notna().all()
    assert load_net(tmp_path / "net/checkpoint.pt")[1] == net()


def test_what_an_abandoned_attempt_did_after_its_last_save_is_forgotten(tmp_path: Path) -> None:
    """The best net is that of the recorded losses, and every step stands once in TensorBoard."""
    options: dict[str, Any] = {"validate_every": 2}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "net", Interrupted(9), **options)  # saved after step 3, validated after 2 and 4
    far = [replace(HELD_OUT[0], targets={name: 50 + target for name, target in HELD_OUT[0].targets.items()})]
    train(net(), samples(painted()), far, TrainingPlan(**SHORT | options), outputs(tmp_path / "net"), key={})
    losses = pd.read_csv(tmp_path / "net/losses.csv").set_index("step").validation_loss.dropna()
    record = torch.load(tmp_path / "net/checkpoint.pt", weights_only=True)["provenance"]["settings"]
    assert record["step"] == losses.idxmin() == 2
    assert record["validation_loss"] == pytest.approx(losses[2])
    events = EventAccumulator(str(tmp_path / "net/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/validation")] == [2, 4, 6, 8, 10]


def test_averaged_weights_are_validated_and_kept(tmp_path: Path, ended: dict[str, SimpleNamespace]) -> None:
    """Steps are those without an average; what is validated and kept is the average."""
    options: dict[str, Any] = {"iterations": 6, "validate_every": 6}
    plain, averaged = run(tmp_path / "plain", **options), run(tmp_path / "averaged", **options, average=0.9)
    pd.testing.assert_series_equal(plain.loss, averaged.loss)
    torch.testing.assert_close(ended["plain"].weights, ended["averaged"].weights, rtol=0, atol=0)
    assert plain.validation_loss.iloc[-1] != averaged.validation_loss.iloc[-1]
    kept = load_net(tmp_path / "averaged/checkpoint.pt")[0].state_dict()
    torch.testing.assert_close(dict(kept), dict(ended["averaged"].averaged), rtol=0, atol=0)
    assert any(not torch.equal(kept[name], value) for name, value in ended["averaged"].weights.items())


def test_average_forgets_its_beginning_and_spans_what_it_should() -> None:
    """Weights that stay are reached, those that alternate are averaged, and counters are copied."""
    averaged = {"weight": torch.tensor([1e6, 0.0]), "counter": torch.tensor(0)}
    for step in range(1, 201):
        current = {"weight": torch.tensor([5.0, float(step % 2)]), "counter": torch.tensor(step)}
        average_weights(averaged, current, 0.99, step)
        if step == 1:
            torch.testing.assert_close(averaged["weight"], torch.tensor([1e6 * 2 / 11 + 5 * 9 / 11, 9 / 11]))
    torch.testing.assert_close(averaged["weight"], torch.tensor([5.0, 0.5]), rtol=0, atol=0.02)
    assert averaged["counter"] == 200
    average_weights(averaged, {"weight": torch.tensor([105.0, 0.5])}, 0.99, 10**6)
    assert float(averaged["weight"][0]) == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize("clip", [0.01, None])
def test_gradients_are_clipped_to_the_norm(
    tmp_path: Path, ended: dict[str, SimpleNamespace], clip: float | None
) -> None:
    """A gradient that is too long has the norm asked for; without a limit it stays long."""
    run(tmp_path / "net", iterations=1, clip=clip)
    moments = [state["exp_avg"] for state in ended["net"].optimiser["state"].values()]
    norm = float(torch.cat([moment.flatten() for moment in moments]).norm()) / 0.1  # a tenth of the first gradient
    assert norm == pytest.approx(0.01, rel=1e-3) if clip else norm > 0.1


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_loss_that_runs_off_is_refused(tmp_path: Path, clip: float | None) -> None:
    """Weights that aren't numbers are never trained on, nor kept, and the message names the step."""
    with pytest.raises(InputError, match=r"the loss of step \d+ is"):
        run(tmp_path / "net", learning_rate=1e30, clip=clip, warmup=0)
    assert not (tmp_path / "net").exists()


def test_a_gradient_that_is_not_finite_is_found_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clipping leaves it to the loss, which is looked at anyway."""
    steps = 0
    clip_gradients = Fabric.clip_gradients

    def broken(self: Fabric, model: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            next(model.parameters()).grad.fill_(float("inf"))
        return clip_gradients(self, model, *arguments, **options)

    monkeypatch.setattr(Fabric, "clip_gradients", broken)
    with pytest.raises(InputError, match="the loss of step 4 is nan"):
        run(tmp_path / "net", clip=1.0)


def test_batches_lie_where_a_gpu_fetches_them_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned for the training's own batches on a GPU; elsewhere that would only cost time."""
    seen = []
    to_device = Fabric.to_device

    def watched(self: Fabric, batch: Any) -> Any:
        if isinstance(batch, dict):  # and not a net
            seen.append((self.device.type == "cuda", batch["input"].is_pinned()))
        return to_device(self, batch)

    monkeypatch.setattr(Fabric, "to_device", watched)
    run(tmp_path / "net", iterations=2, validate_every=2)
    assert len(seen) == 3
    assert all(pinned == gpu for gpu, pinned in seen[:2])


def test_learning_rate_follows_its_schedule(tmp_path: Path, ended: dict[str, SimpleNamespace]) -> None:
    """It rises to its largest, stays or falls to a hundredth, and is what the optimiser uses."""
    found = [learning_rate_factor(progress, "cosine") for progress in (0, 0.01, 0.02, 0.5, 1, 1.5)]
    assert found == pytest.approx([0.001, 0.499878, 0.999023, 0.505, 0.01, 0.01], abs=1e-6)
    plan = TrainingPlan(**SHORT | {"iterations": 100, "schedule": "constant", "warmup": 10})
    rates = [plan.learning_rate_at(step, seconds=1e9) for step in (0, 1, 5, 9, 10, 99)]
    assert rates == pytest.approx([1e-6, 1e-4, 5e-4, 9e-4, 1e-3, 1e-3])
    run(tmp_path / "net", iterations=4, warmup=4)
    rate = ended["net"].optimiser["param_groups"][0]["lr"]
    assert rate == pytest.approx(1e-3 * 0.75 * (0.01 + 0.495 * (1 + np.cos(np.pi * 0.75))))


def test_a_schedule_is_squeezed_into_the_minutes() -> None:
    """By the clock or by steps, whichever is further."""
    plan = TrainingPlan(**SHORT | {"iterations": 100, "minutes": 10, "warmup": 0})
    assert plan.learning_rate_at(0, 300) == pytest.approx(0.505e-3)
    assert plan.learning_rate_at(50, 3) == pytest.approx(0.505e-3)
    assert plan.learning_rate_at(3, 601) == pytest.approx(0.01e-3)
    rising = TrainingPlan(**SHORT | {"iterations": 100, "minutes": 10, "warmup": 20, "schedule": "constant"})
    assert rising.learning_rate_at(1, 60) == pytest.approx(0.5e-3)


@pytest.mark.parametrize("channels_last", [True, False])
def test_order_of_memory_is_chosen(
    tmp_path: Path, ended: dict[str, SimpleNamespace], monkeypatch: pytest.MonkeyPatch, channels_last: bool
) -> None:
    """Weights and samples lie as asked."""
    seen = []
    forward = trainer.UNet.forward

    def watched(self: Any, x: torch.Tensor, padded: bool = True) -> dict[str, torch.Tensor]:
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return forward(self, x, padded)

    monkeypatch.setattr(trainer.UNet, "forward", watched)
    run(tmp_path / "net", iterations=2, validate_every=2, channels_last=channels_last)
    assert seen[:2] == [channels_last] * 2
    weight = ended["net"].weights["down.0.convolutions.0.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.usefixtures("traced")
def test_a_compiled_net_learns_the_same(tmp_path: Path, ended: dict[str, SimpleNamespace]) -> None:
    """Compiled or not, the same training, and a checkpoint with the names that every reader expects."""
    options: dict[str, Any] = {"iterations": 3, "validate_every": 3}
    plain, compiled = run(tmp_path / "plain", **options), run(tmp_path / "compiled", **options, compile=True)
    pd.testing.assert_frame_equal(plain, compiled, rtol=1e-3)
    torch.testing.assert_close(ended["compiled"].weights, ended["plain"].weights, rtol=1e-2, atol=1e-3)
    assert load_net(tmp_path / "compiled/checkpoint.pt")[1] == load_net(tmp_path / "plain/checkpoint.pt")[1]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"warmup": 11}, "`warmup` is 11, but `iterations` is 10"),
        ({"patience": 2}, "`patience` is 2, but `validate_every` makes 3 validations"),
        ({"patience": 1, "validate_every": 13}, "`validate_every` makes 1 validations"),
    ],
)
def test_options_that_could_do_nothing_are_refused(options: dict[str, Any], problem: str) -> None:
    """A learning rate that is never reached, and patience that could never run out."""
    with pytest.raises(InputError, match=problem):
        TrainingPlan(**SHORT | options)


def test_options_of_the_configuration_reach_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the plan, and in what the checkpoint says it was made with."""
    found = []
    monkeypatch.setattr("sparse2dense.stages.training.train", lambda *given, key: found.append((given[3], key)))
    options = {"schedule": "constant", "warmup": 2, "clip": 0.5, "average": 0.9, "patience": 1, "compile": True}
    options |= {"channels_last": False, "iterations": 7}
    train_lift(outputs(tmp_path), settings=LIFT | options, section_settings=SECTION, seed=4, threads=1)
    plan, key = found[0]
    assert {name: getattr(plan, name) for name in options} == options
    assert options.items() <= key["settings"].items()


def test_batches_and_the_optimiser_follow_the_net_to_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def watch(owner: Any, name: str, event: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            happened.append(event)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    plan = TrainingPlan(**SHORT)
    with pytest.raises(KeyboardInterrupt):
        train(net(), Interrupted(15), HELD_OUT, plan, outputs(tmp_path), key={})
    watch(Fabric, "setup", "net moves")
    watch(Fabric, "to_device", "batch moves")
    watch(UNet, "forward", "net answers")
    watch(torch.optim.AdamW, "load_state_dict", "optimiser loads")
    train(net(), samples(painted()), HELD_OUT, plan, outputs(tmp_path), key={})
    assert happened.index("net moves") < happened.index("optimiser loads")
    answers = [place for place, event in enumerate(happened) if event == "net answers"]
    assert len(answers) > 4
    assert all(happened[place - 1] == "batch moves" for place in answers)
