"""What the shared trainer owns: seeds, batches, players, losses, stopping, precision."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from players import Closed, Pair, PairParams, Plain, Slope
from torch import Tensor, nn
from toy import build, fit_built, same, toy_view, train, weights

from zslbench.api.embedder import Batch, Embedder, GradientParams, Objective, Stage
from zslbench.api.params import Params
from zslbench.api.progress import Progress
from zslbench.api.views import ProblemShape, TrainView
from zslbench.errors import RunError

VIEW = toy_view()
N = len(VIEW.x)
assert N % 16 != 0  # the last batch of an epoch is smaller
METHODS = [(Plain, GradientParams), (Pair, PairParams)]


def short(kind: type[Params], **values: Any) -> Params:
    return kind(**({"epochs": 2, "batch_size": 16} | values))


@pytest.mark.parametrize(("method", "kind"), METHODS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(method: Any, kind: Any) -> None:
    first, fitted = train(method, short(kind), VIEW, seed=1)
    torch.rand(7)  # the global state must not matter
    again, fitted_again = train(method, short(kind), VIEW, seed=1)
    other, _ = train(method, short(kind), VIEW, seed=2)
    assert same(weights(first), weights(again))
    assert fitted.losses == fitted_again.losses
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("deterministic", [False, True])
def test_training_leaves_the_global_random_state_and_the_deterministic_flag_alone(deterministic: bool) -> None:
    torch.use_deterministic_algorithms(deterministic)
    try:
        before = torch.get_rng_state()
        train(Plain, short(GradientParams), VIEW)
        assert torch.equal(before, torch.get_rng_state())
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("player", ["critic", "second", "first"])
def test_a_player_updates_its_own_parameters_only(player: str) -> None:
    class Alone(Pair):
        def stages(self) -> list[Stage]:
            (stage,) = super().stages()
            return [Stage("alone", [o for o in stage.objectives if o.name == player], 1)]

    before = weights(build(Alone, short(PairParams), VIEW))
    alone, _ = train(Alone, short(PairParams), VIEW)
    changed = {name.split(".")[0] for name, value in weights(alone).items() if not torch.equal(value, before[name])}
    assert changed == {player}


def test_no_gradient_is_left_on_the_players_that_only_take_part_in_a_loss() -> None:
    pair, _ = train(Pair, short(PairParams), VIEW)
    assert all(parameter.grad is None for parameter in pair.parameters())


class Logged(Pair):
    """Notes who was asked for a loss, and for which images; an image is known by its first feature."""

    def note(self, player: str, batch: Batch) -> None:
        rows = [int((VIEW.x[:, 0] == value).nonzero().squeeze()) for value in batch.x[:, 0]]
        assert torch.equal(batch.y, VIEW.y[rows])
        assert torch.equal(batch.s, VIEW.semantics[VIEW.y[rows]])
        self.log = [*getattr(self, "log", []), (player, rows)]

    def first_loss(self, batch: Batch) -> Any:
        self.note("first", batch)
        return super().first_loss(batch)

    def second_loss(self, batch: Batch) -> Any:
        self.note("second", batch)
        return super().second_loss(batch)

    def critic_loss(self, batch: Batch) -> Any:
        self.note("critic", batch)
        return super().critic_loss(batch)


def test_players_take_turns_each_with_its_steps() -> None:
    pair, _ = train(Logged, short(PairParams), VIEW)
    turns = math.ceil(N / 16)
    assert [player for player, _ in pair.log] == ["critic", "critic", "critic", "second", "first"] * turns * 2


@pytest.mark.parametrize("batch_size", [1, 12, 16, 1000])
def test_every_player_sees_every_image_once_an_epoch_and_step(batch_size: int) -> None:
    """Also where a turn has as many steps as the images make batches, 5: a player must not get the same ones always."""
    pair, _ = train(Logged, short(PairParams, batch_size=batch_size), VIEW)
    for player, steps in {"critic": 3, "second": 1, "first": 1}.items():
        seen = [rows for name, rows in pair.log if name == player]
        half = len(seen) // 2
        for epoch in (seen[:half], seen[half:]):
            assert sorted(row for rows in epoch for row in rows) == sorted(list(range(N)) * steps)
            assert max(map(len, epoch)) == min(batch_size, N)
    order = [row for name, rows in pair.log if name == "first" for row in rows]
    assert order[:N] != order[N:]


@pytest.mark.parametrize(("player", "call", "step", "epoch"), [("second", 1, 1, 1), ("first", 7, 7, 2)])
def test_a_loss_that_is_no_number_ends_the_run_and_is_named(player: str, call: int, step: int, epoch: int) -> None:
    class Breaks(Pair):
        calls = 0

        def _break(self, name: str, loss: Any) -> Any:
            if name == player:
                self.calls += 1
            return loss * math.nan if name == player and self.calls == call else loss

        def first_loss(self, batch: Batch) -> dict[str, Tensor]:
            return {name: self._break("first", loss) for name, loss in list(super().first_loss(batch).items())[:1]}

        def second_loss(self, batch: Batch) -> Tensor:
            return self._break("second", super().second_loss(batch))

    assert math.ceil(N / 16) == 4
    with pytest.raises(RunError) as error:
        train(Breaks, short(PairParams), VIEW)
    assert f"loss '{player}" in str(error.value)
    assert f"at step {step} (epoch {epoch} of stage 'joint')" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_infinite_loss_is_noticed_before_the_epoch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Explodes(Slope):
        calls = 0

        def loss(self, batch: Batch) -> Tensor:
            self.calls += 1
            return super().loss(batch) * (math.inf if self.calls == 2 else 1)

    monkeypatch.setattr("zslbench.training.epoch.TURNS_BETWEEN_CHECKS", 5)
    explodes = build(Explodes, GradientParams(batch_size=1, epochs=1), VIEW)
    with pytest.raises(RunError, match="at step 2 "):
        fit_built(explodes, VIEW)
    assert explodes.calls == 5


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        (
            lambda self, batch: self.W(batch.x).mean(dim=1),
            r"loss 'loss' is a tensor of shape \(16,\); a tensor with one",
        ),
        (lambda self, batch: None, "loss 'loss' is NoneType; a tensor with one value is needed"),
        (lambda self, batch: {"rank": 1.0}, "loss 'loss/rank' is float; a tensor with one value is needed"),
        (lambda self, batch: torch.tensor(1.0), "loss 'loss' does not depend on the parameters it is to train"),
    ],
)
def test_a_loss_that_is_none_is_named(loss: Any, problem: str) -> None:
    class Odd(Embedder[GradientParams]):
        def build(self, shape: ProblemShape) -> None:
            self.W = nn.Linear(shape.features, shape.attributes)

    Odd.loss = loss  # type: ignore[method-assign]
    with pytest.raises(RunError, match=problem):
        train(Odd, GradientParams(epochs=1, batch_size=16), VIEW)


def scripted(scores: list[float]) -> Any:
    remaining = iter(scores)
    return lambda model: {"score": next(remaining)}


def test_early_stopping_keeps_the_best_epoch_and_stops_after_its_patience() -> None:
    states: list[dict[str, Tensor]] = []
    plain = build(Plain, short(GradientParams, epochs=50, patience=2), VIEW)
    fitted = fit_built(
        plain,
        VIEW,
        watch=scripted([0.1, 0.3, 0.2, 0.3]),  # an equal score is no better
        stop_on="score",
        on_epoch=lambda progress: states.append(weights(plain)),
    )
    assert len(states) == len(fitted.losses) == 4
    assert fitted.epochs == 2
    assert same(weights(plain), states[1])
    assert not same(states[1], states[3])


def test_smaller_values_can_be_better_and_the_fit_can_say_how_many_epochs_are_borne() -> None:
    scores = scripted([0.5, 0.3, 0.4, 0.3, 0.9])
    params = short(GradientParams, epochs=50, patience=1)
    fitted = train(Plain, params, VIEW, watch=scores, stop_on="score", stop_after=3, higher_is_better=False)[1]
    assert (fitted.epochs, len(fitted.losses)) == (2, 5)


@pytest.mark.parametrize(
    ("scores", "below", "higher", "epochs"),
    [
        ([0.1, 0.2, 0.3, 0.4], 0.25, True, 4),  # reached in epoch 3, just in time
        ([0.1, 0.2, 0.3, 0.4], 0.3, True, 4),  # as good is good enough
        ([0.1, 0.2, 0.3, 0.4], 0.35, True, 3),
        ([0.3, 0.2, 0.1, 0.4], 0.25, True, 4),  # by the best epoch, not by the last
        ([0.9, 0.8, 0.7, 0.6], 0.65, False, 3),
        ([0.9, 0.8, 0.7, 0.6], 0.75, False, 4),
    ],
)
def test_a_fit_ends_where_its_first_epochs_do_not_reach_what_they_must(
    scores: list[float], below: float, higher: bool, epochs: int
) -> None:
    how: dict[str, Any] = {"stop_on": "score", "stop_after": 3, "stop_below": below, "higher_is_better": higher}
    fitted = train(Plain, short(GradientParams, epochs=4), VIEW, watch=scripted(scores), **how)[1]
    assert len(fitted.losses) == epochs


def test_a_metric_that_the_method_has_not_ends_nothing() -> None:
    params = short(GradientParams, epochs=3, patience=1)
    fitted = train(Plain, params, VIEW, watch=scripted([0.3, 0.2, 0.1]), stop_on="other")[1]
    assert (fitted.epochs, len(fitted.losses)) == (3, 3)


def test_early_stopping_ends_with_the_epochs_where_it_goes_on_improving() -> None:
    fitted = train(
        Plain, short(GradientParams, epochs=3, patience=1), VIEW, watch=scripted([0.1, 0.2, 0.3]), stop_on="score"
    )[1]
    assert fitted.epochs == len(fitted.losses) == 3


def test_validation_meets_the_model_as_it_will_be_tested() -> None:
    modes = []

    def watch(model: Embedder[Any]) -> dict[str, float]:
        modes.append((model.training, torch.is_grad_enabled()))
        return {"score": float(len(modes))}

    plain, fitted = train(Plain, short(GradientParams, patience=5), VIEW, watch=watch, stop_on="score")
    without, fitted_without = train(Plain, short(GradientParams), VIEW)
    assert modes == [(False, False)] * 2
    assert same(weights(plain), weights(without))  # looking changes nothing, and dropout comes back after it
    assert fitted.losses == fitted_without.losses
    assert not plain.training


def test_the_number_of_epochs_chosen_on_validation_holds_for_the_last_stage() -> None:
    seen: list[tuple[str, int, int]] = []
    params = short(PairParams, two_stage=True, epochs=5)
    _, fitted = train(Pair, params, VIEW, epochs=2, on_epoch=lambda p: seen.append((p.stage, p.epoch, p.epochs)))
    assert seen == [("second", 1, 3), ("second", 2, 3), ("second", 3, 3), ("first", 1, 2), ("first", 2, 2)]
    assert fitted.epochs == 2


def test_fewer_epochs_are_the_beginning_of_more() -> None:
    states: list[dict[str, Tensor]] = []
    torch.manual_seed(3)
    longer = build(Plain, short(GradientParams, epochs=4), VIEW)
    with torch.random.fork_rng():
        fit_built(longer, VIEW, on_epoch=lambda progress: states.append(weights(longer)))
    shorter = build(Plain, short(GradientParams, epochs=4), VIEW)
    fit_built(shorter, VIEW, epochs=3)
    assert same(weights(shorter), states[2])
    assert not same(states[2], states[3])


def test_progress_reports_each_term_of_each_player() -> None:
    seen: list[Progress] = []
    fitted = train(Pair, short(PairParams), VIEW, on_epoch=seen.append)[1]
    assert [progress.losses for progress in seen] == fitted.losses
    assert set(seen[0].losses) == {"critic", "second", "first/square", "first/adv"}
    assert 0 < seen[0].seconds < seen[1].seconds <= fitted.seconds


def test_training_learns_the_toy_problem() -> None:
    plain, fitted = train(Plain, GradientParams(epochs=60, batch_size=16, lr=0.01), VIEW)
    assert fitted.losses[-1]["loss/square"] < 0.3 * fitted.losses[0]["loss/square"]
    with torch.no_grad():
        right = plain.scores(VIEW.x, VIEW.classes).argmax(dim=1) == VIEW.y
    assert right.float().mean() > 3 / len(VIEW.classes)


@pytest.mark.parametrize(("method", "kind"), METHODS)
def test_bf16_trains_like_full_precision_and_keeps_float32_weights(method: Any, kind: Any) -> None:
    model, half = train(method, short(kind, epochs=5), VIEW, precision="bf16")
    _, full = train(method, short(kind, epochs=5), VIEW)
    assert all(value.dtype == torch.float32 for value in weights(model).values())
    assert half.losses != full.losses
    for name, value in full.losses[-1].items():
        assert half.losses[-1][name] == pytest.approx(value, rel=0.1, abs=0.02), name


def test_a_closed_form_is_solved_once_and_has_no_epochs() -> None:
    closed, fitted = train(Closed, GradientParams(), VIEW)
    assert torch.equal(closed.W, VIEW.x.T @ VIEW.semantics[VIEW.y])
    assert fitted.epochs is None and fitted.losses == []


def test_a_closed_form_may_start_a_gradient_training() -> None:
    class Both(Slope):
        def solve(self, view: TrainView) -> None:
            with torch.no_grad():
                self.b.fill_(100.0)

    both, _ = train(Both, GradientParams(optimizer="sgd", beta1=0.0, lr=1.0, batch_size=N, epochs=1), VIEW)
    assert both.b.item() == 88.0


def test_a_method_that_says_nothing_of_how_it_learns_is_told_so() -> None:
    class Silent(Embedder[GradientParams]):
        def build(self, shape: ProblemShape) -> None:
            self.w = nn.Parameter(torch.zeros(1))

    with pytest.raises(NotImplementedError, match=r"Silent defines none of solve\(\), loss\(\)"):
        train(Silent, GradientParams(), VIEW)


def test_a_method_with_a_loss_needs_the_parameters_of_training() -> None:
    class Bare(Embedder[Params]):
        def loss(self, batch: Batch) -> Tensor:
            return batch.x.sum()

    with pytest.raises(TypeError, match=r"Bare defines no solve\(\), so it trains by gradients"):
        train(Bare, Params(), VIEW)


def test_parameters_given_as_an_iterator_last_for_several_stages() -> None:
    layer = torch.nn.Linear(2, 2)
    objective = Objective("twice", lambda batch: batch.x.sum(), layer.parameters())
    assert list(objective.parameters) == list(objective.parameters) == list(layer.parameters())
