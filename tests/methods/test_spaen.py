"""SP-AEN: its losses by hand, who is trained by what, and its two ways of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy import build, same, toy_view, train, weights

from zslbench.api.embedder import Batch, Objective, Stage
from zslbench.api.views import ClassSet, TrainView
from zslbench.errors import UsageError
from zslbench_methods.spaen import SPAEN, SPAENParams, ranking_loss

VIEW = toy_view(seed=1)
ALL = torch.ones(8, dtype=torch.bool)
SHORT: dict[str, Any] = {"epochs": 2, "autoencoder_epochs": 2, "batch_size": 16, "hidden": 6, "autoencoder_hidden": 6}


def batch(view: TrainView = VIEW, seed: int = 0) -> Batch:
    return Batch(view.x, view.y, view.classes, torch.Generator().manual_seed(seed))


def linear(scores: list[list[float]], y: list[int], **values: Any) -> tuple[SPAEN, Batch]:
    """A model whose class scores are the given ones: features are scores, classes are unit vectors, E = 1."""
    x = torch.tensor(scores)
    n = x.shape[1]
    classes = ClassSet(torch.eye(n), tuple(map(str, range(n))), torch.ones(n, dtype=torch.bool))
    view = TrainView("inductive", x, torch.tensor(y), classes)
    model = build(
        SPAEN,
        SPAENParams(**({"hidden": 0, "dropout": 0.0, "alpha": 0.0, "beta": 0.0, "relative": False} | values)),
        view,
    )
    (layer,) = (layer for layer in model.E if isinstance(layer, nn.Linear))
    with torch.no_grad():
        layer.weight.copy_(torch.eye(n))
        layer.bias.zero_()
    return model, batch(view)


def ranking(model: SPAEN, given: Batch) -> float:
    (loss,) = model.embed_loss(given).values()
    return float(loss.detach())


@pytest.mark.parametrize("negative", ["random", "violating"])
def test_ranking_takes_one_wrong_class_and_weighs_it_by_its_violation(negative: str) -> None:
    model, given = linear([[1.0, 0.75, -2.0, 0.5]], [0], margin=1.0, negative=negative)
    # violations of the wrong classes: 0.75, 0, 0.5
    found = [ranking(model, given) for _ in range(1500)]
    expected = {"random": {0.75: 1 / 3, 0.0: 1 / 3, 0.5: 1 / 3}, "violating": {0.75: 1 / 2, 0.5: 1 / 2}}[negative]
    assert set(found) == set(expected)
    for value, probability in expected.items():
        assert found.count(value) / 1500 == pytest.approx(probability, abs=5 * (0.25 / 1500) ** 0.5)


def test_ranking_against_the_hardest_class_takes_the_largest_violation() -> None:
    model, given = linear([[1.0, 0.75, -2.0, 0.5], [0.0, 0.0, 0.0, 3.0]], [0, 3], negative="hardest", ranking=4.0)
    assert ranking(model, given) == pytest.approx(4.0 * (0.75 + 0.0) / 2)


@pytest.mark.parametrize(
    ("size", "norm", "cosine"), [(64, 1.0, 0.05), (64, 7.0, 0.5), (1024, 1.0, 0.8), (1024, 0.1, 0.8)]
)
def test_losses_mean_the_same_whatever_size_norm_and_likeness_the_class_embeddings_have(
    size: int, norm: float, cosine: float
) -> None:
    """Classes at the corners of a simplex, beside what they share; E and F give each image its own corner."""
    corners = torch.linalg.qr(torch.randn(size, 9, generator=torch.Generator().manual_seed(2)))[0].T
    semantics = norm * (cosine**0.5 * corners[:1] + (1 - cosine) ** 0.5 * corners[1:])
    view = TrainView("inductive", torch.eye(8), torch.arange(8), ClassSet(semantics, VIEW.classes.names[:1] * 8, ALL))
    model = build(SPAEN, SPAENParams(hidden=0, autoencoder_hidden=0, anchor=1.0, unit_norm=0.0), view)
    centred = corners[1:] - corners[1:].mean(dim=0)
    own = centred / centred.square().sum(dim=1, keepdim=True).sqrt()
    for network in (model.E, model.F):
        with torch.no_grad():
            network[0].weight.copy_(own.T)
    assert float(model.embed_loss(batch(view))["cls"].detach()) == pytest.approx(0.0, abs=1e-5)
    assert float(model.autoencoder_loss(batch(view))["anchor"].detach()) == pytest.approx(0.0, abs=1e-5)
    with torch.no_grad():
        model.E[0].weight.zero_()
    assert float(model.embed_loss(batch(view))["cls"].detach()) == pytest.approx(1.0)


@pytest.mark.parametrize("negative", ["random", "violating", "hardest"])
def test_ranking_is_the_mean_over_the_images(negative: str) -> None:
    model, given = linear([[1.0, 0.75], [3.0, 0.0], [0.0, -0.25]], [0, 0, 1], margin=1.0, negative=negative)
    assert ranking(model, given) == pytest.approx((0.75 + 0.0 + 1.25) / 3)


@pytest.mark.parametrize("negative", ["random", "violating", "hardest"])
def test_ranking_without_a_violator_is_zero_and_so_is_its_gradient(negative: str) -> None:
    model, given = linear([[5.0, 0.0, 1.0], [0.0, 0.0, 9.0]], [0, 2], margin=1.0, negative=negative)
    (loss,) = model.embed_loss(given).values()
    gradients = torch.autograd.grad(loss, list(model.E.parameters()))
    assert float(loss.detach()) == 0.0
    assert all(gradient.abs().max() == 0.0 for gradient in gradients)


def spaen(**values: Any) -> SPAEN:
    return build(SPAEN, SPAENParams(**(SHORT | {"dropout": 0.0, "alpha": 2.0, "beta": 0.5} | values)), VIEW)


def test_the_critics_penalty_is_the_distance_of_its_slope_from_one() -> None:
    model = spaen(gradient_penalty=10.0)
    direction = torch.arange(1.0, 6.0)
    model.D = nn.Sequential(nn.Linear(5, 1))  # D(s) = w . s, so its slope is |w| everywhere
    with torch.no_grad():
        model.D[0].weight.copy_(direction[None])
    losses = model.critic_loss(batch())
    slope = float(direction.square().sum()) ** 0.5
    weight = model.params.beta  # of all of L_adv, Eq. (5)
    assert float(losses["penalty"].detach()) == pytest.approx(weight * 10.0 * (slope - 1) ** 2, rel=1e-5)
    real, fake = model.F(VIEW.x).detach(), model.E(VIEW.x).detach()
    distance = weight * float(((fake - real) @ direction).mean())
    assert float(losses["distance"].detach()) == pytest.approx(distance, rel=1e-4)


def test_the_penalty_is_on_the_logit_and_the_game_on_what_the_critic_says() -> None:
    """As in the released code, where the critic's output is squashed."""
    plain, squashed = (spaen(critic_sigmoid=sigmoid) for sigmoid in (False, True))
    assert same(weights(plain), weights(squashed))
    logits, said = plain.critic_loss(batch()), squashed.critic_loss(batch())
    assert float(said["penalty"].detach()) == float(logits["penalty"].detach())
    with torch.no_grad():
        real, fake = plain.D(plain.F(VIEW.x)).sigmoid(), plain.D(plain.E(VIEW.x)).sigmoid()
        adversarial = -plain.params.beta * float(fake.mean())
    assert float(said["distance"].detach()) == pytest.approx(0.5 * float(fake.mean() - real.mean()), rel=1e-4)
    assert float(squashed.embed_loss(batch())["adv"].detach()) == pytest.approx(adversarial, rel=1e-5)


def test_a_critic_of_slope_one_pays_no_penalty() -> None:
    model = spaen()
    model.D = nn.Sequential(nn.Linear(5, 1))
    with torch.no_grad():
        model.D[0].weight.copy_(torch.tensor([[0.6, 0.0, 0.8, 0.0, 0.0]]))
    assert float(model.critic_loss(batch())["penalty"].detach()) == pytest.approx(0.0, abs=1e-10)


def test_the_penalty_trains_the_critic() -> None:
    model = spaen()
    penalty = model.critic_loss(batch())["penalty"]
    gradients = torch.autograd.grad(penalty, list(model.D.parameters()), allow_unused=True)
    assert max(float(gradient.abs().max()) for gradient in gradients if gradient is not None) > 0


def test_reconstruction_vanishes_where_g_undoes_f() -> None:
    identity = TrainView("inductive", torch.randn(9, 5), torch.arange(9) % 4, VIEW.classes)
    model = build(SPAEN, SPAENParams(autoencoder_hidden=0, beta=0.0, unit_norm=0.0), identity)
    for network in (model.F, model.G):
        with torch.no_grad():
            network[0].weight.copy_(torch.eye(5))
            network[0].bias.zero_()
    (loss,) = model.autoencoder_loss(batch(identity)).values()
    assert float(loss.detach()) == 0.0
    with torch.no_grad():
        model.G[0].weight.mul_(3.0)
    (worse,) = model.autoencoder_loss(batch(identity)).values()
    assert float(worse.detach()) > 0


def test_the_two_sides_of_the_adversarial_game_are_opposed() -> None:
    """What E gains in its adversarial term, the critic loses in its own: E raises D(E(x)), the critic lowers it."""
    model = spaen(beta=1.0)
    embed = model.embed_loss(batch())
    (name,) = (name for name in embed if "adv" in name)
    raised = torch.autograd.grad(embed[name], model.D[-1].bias)[0]
    lowered = torch.autograd.grad(model.D(model.E(VIEW.x).detach()).mean(), model.D[-1].bias)[0]
    assert raised.sign() == -lowered.sign()


@pytest.mark.parametrize("training", ["joint", "two-stage"])
def test_each_player_trains_its_own_networks(training: str) -> None:
    networks = {"critic": {"D"}, "autoencoder": {"F", "G"}, "embed": {"E"}}
    for player, own in networks.items():

        class Alone(SPAEN):
            player_name = player

            def stages(self) -> list[Stage]:
                chosen = [(o, s) for s in super().stages() for o in s.objectives if o.name == self.player_name]
                return [Stage(stage.name, [objective], 1) for objective, stage in chosen]

        params = SPAENParams(**SHORT, alpha=1.0, beta=0.1, training=training)
        before = weights(build(Alone, params, VIEW))
        after = weights(train(Alone, params, VIEW)[0])
        assert {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])} == own


def players(**values: Any) -> dict[str, list[tuple[str, int]]]:
    stages = spaen(**values).stages()
    return {stage.name: [(player.name, player.steps) for player in stage.objectives] for stage in stages}


def test_joint_training_is_one_stage_of_all_players() -> None:
    assert players(training="joint", critic_steps=3) == {"joint": [("critic", 3), ("autoencoder", 1), ("embed", 1)]}


def test_two_stage_training_is_the_autoencoder_and_then_the_embedding_against_the_critic() -> None:
    stages = players(training="two-stage", critic_steps=3)
    assert list(stages.values()) == [[("autoencoder", 1)], [("critic", 3), ("embed", 1)]]


def test_in_the_second_stage_f_and_g_are_frozen() -> None:
    class FirstStage(SPAEN):
        def stages(self) -> list[Stage]:
            return super().stages()[:1]

    params = SPAENParams(**SHORT, alpha=1.0, beta=0.1, training="two-stage")
    first, both = weights(train(FirstStage, params, VIEW)[0]), weights(train(SPAEN, params, VIEW)[0])
    assert {name[0] for name in first if not torch.equal(first[name], both[name])} == {"E", "D"}


class ClassificationOnly(SPAEN):
    """The ablation written out: E alone, by the ranking loss alone."""

    def stages(self) -> list[Stage]:
        return [Stage("E", [Objective("embed", self.ranking_loss, self.E.parameters())], self.params.epochs)]

    def ranking_loss(self, batch: Batch) -> Tensor:
        return ranking_loss(self.E(batch.x), batch, self.params)


@pytest.mark.parametrize("training", ["joint", "two-stage"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_with_both_weights_zero_only_the_ranking_loss_trains_only_e(training: str, dropout: float) -> None:
    params = SPAENParams(**SHORT, alpha=0.0, beta=0.0, training=training, dropout=dropout)
    before = weights(build(SPAEN, params, VIEW))
    ablation, fitted = train(SPAEN, params, VIEW)
    after = weights(ablation)
    assert {name[0] for name in after if not torch.equal(after[name], before[name])} == {"E"}
    assert all(len(losses) == 1 for losses in fitted.losses)
    assert same(after, weights(train(ClassificationOnly, params, VIEW)[0]))


def test_each_weight_changes_the_embedding_it_is_meant_to() -> None:
    def embedding(**values: Any) -> Tensor:
        params = SPAENParams(**(SHORT | {"alpha": 1.0, "beta": 0.5, "dropout": 0.0} | values))
        return train(SPAEN, params, VIEW)[0].embed(VIEW.x).detach()

    full = embedding()
    assert not torch.equal(full, embedding(beta=0.0))  # the adversary reaches E
    assert not torch.equal(full, embedding(alpha=5.0))  # and through it the reconstruction
    assert torch.equal(full, embedding())


def test_training_reconstructs_and_ranks() -> None:
    params = SPAENParams(**(SHORT | {"epochs": 40, "lr": 0.01, "autoencoder_lr": 0.01}), beta=0.01, training="joint")
    fitted = train(SPAEN, params, VIEW)[1]
    first, last = fitted.losses[0], fitted.losses[-1]
    falling = [name for name in first if name.endswith(("cls", "rec"))]
    assert len(falling) == 2
    assert all(last[name] < 0.8 * first[name] for name in falling)


def test_classes_are_told_by_the_embedding_of_e() -> None:
    model = spaen().eval()
    with torch.no_grad():
        expected = [[float(s @ model.E(x[None])[0]) for s in VIEW.semantics] for x in VIEW.x[:4]]
        scores = model.scores(VIEW.x[:4], VIEW.classes)
    assert scores.tolist() == [pytest.approx(row, abs=1e-5) for row in expected]


def test_an_adversary_without_a_reconstruction_is_refused_in_two_stages_and_allowed_jointly() -> None:
    with pytest.raises(UsageError, match="two-stage training with beta > 0 needs alpha > 0"):
        SPAENParams.parse({"alpha": 0, "beta": 0.1, "training": "two-stage"}, "method 'spaen'")
    assert SPAENParams.parse({"alpha": 0, "beta": 0.1, "training": "joint"}, "method 'spaen'").beta == 0.1


@pytest.mark.parametrize("target", ["gaussian", "untrained", "ridge"])
@pytest.mark.parametrize("training", ["joint", "two-stage"])
def test_where_a_control_stands_for_f_only_e_and_the_critic_learn(target: str, training: str) -> None:
    params = SPAENParams(**SHORT, target=target, training=training)
    before = weights(build(SPAEN, params, VIEW))
    after = weights(train(SPAEN, params, VIEW)[0])
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed - {"ridge"} == {"E", "D"}
    assert (target == "ridge") == ("ridge" in changed)


def real_rows(**values: Any) -> tuple[SPAEN, Tensor]:
    """What the critic takes for real, read off a critic that notes it."""
    model, seen = spaen(**values), []
    model.solve(VIEW)

    class Noted(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return super().forward(x)

    model.D = Noted(*model.D)
    model.critic_loss(batch())
    with torch.no_grad():
        fake = model.E(VIEW.x)
    (real,) = (rows for rows in seen if not rows.requires_grad and _is_neither(rows, fake, seen))
    return model, real


def _is_neither(rows: Tensor, fake: Tensor, seen: list[Tensor]) -> bool:
    """Whether these are not E's outputs in some order, nor the points between (which come first)."""
    return rows is not seen[0] and not torch.allclose(rows.sort(dim=0).values, fake.sort(dim=0).values, atol=1e-6)


def test_the_paper_takes_f_of_the_images_for_real() -> None:
    model, real = real_rows()
    with torch.no_grad():
        assert torch.equal(real, model.F(VIEW.x))


def test_noise_knows_nothing_of_the_images() -> None:
    uniform = batch().rand(5)
    found = real_rows(target="gaussian")[1]
    normal = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(normal.cdf(found * 5**0.5), uniform, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("target", ["untrained", "ridge"])
def test_controls_have_unit_norm_on_the_whole(target: str) -> None:
    model, real = real_rows(target=target)
    assert float(real.square().sum(dim=1).mean()) == pytest.approx(1.0, rel=1e-4)
    if target == "untrained":
        with torch.no_grad():
            expected = model.F(VIEW.x)
    else:
        x, s = VIEW.x.double().numpy(), VIEW.semantics[VIEW.y].double().numpy()
        strength = 0.1 * np.linalg.eigvalsh(x.T @ x).mean()
        stacked = np.vstack([x, strength**0.5 * np.eye(x.shape[1])])
        solution = np.linalg.lstsq(stacked, np.vstack([s, np.zeros((x.shape[1], s.shape[1]))]), rcond=None)[0]
        expected = torch.from_numpy(x @ solution).float()
    ratio = real / expected
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)


def test_shuffled_coordinates_are_those_of_f_one_by_one_and_of_no_image_together() -> None:
    model, real = real_rows(target="shuffled")
    with torch.no_grad():
        f = model.F(VIEW.x)
    assert torch.equal(real.sort(dim=0).values, f.sort(dim=0).values)
    together = [row for row in real.tolist() if any(row == other for other in f.tolist())]
    assert len(together) < len(f) / 4


def test_the_anchor_is_the_squared_distance_to_the_class_centred_and_by_the_spread() -> None:
    model = spaen(anchor=3.0)
    with torch.no_grad():
        f, s = model.F(VIEW.x).numpy(), VIEW.semantics.numpy()
        centred = s - s.mean(axis=0)
        centred /= np.sqrt((centred**2).sum(axis=1).mean())
        expected = 3.0 * ((f - centred[VIEW.y]) ** 2).sum(axis=1).mean()
    assert float(model.autoencoder_loss(batch())["anchor"].detach()) == pytest.approx(expected, rel=1e-5)
    assert "anchor" not in spaen().autoencoder_loss(batch())


def test_every_network_may_end_in_a_leaky_relu() -> None:
    model = spaen(activate_output=True, slope=0.3)
    for network in (model.E, model.F, model.G):
        assert isinstance(network[-1], nn.LeakyReLU)
        assert network[-1].negative_slope == 0.3
    assert isinstance(model.D[-1], nn.Linear)


def test_the_critics_weights_bear_no_l2_penalty() -> None:
    decayed = {player.name: player.decay for stage in spaen().stages() for player in stage.objectives}
    assert decayed == {"critic": False, "autoencoder": True, "embed": True}


@pytest.mark.parametrize("training", ["joint", "two-stage"])
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_plateau_is_one_of_the_classification_loss(training: str, beta: float) -> None:
    params = SPAENParams(**SHORT, training=training, beta=beta, schedule="plateau")
    last = train(SPAEN, params, VIEW)[1].losses[-1]
    (stage,) = (stage for stage in build(SPAEN, params, VIEW).stages() if stage.name != "autoencoder")
    assert stage.plateau == "embed/cls"
    assert stage.plateau in last
