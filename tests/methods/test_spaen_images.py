"""SP-AEN on images: its losses by hand, who is trained by what, and what it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from toy import build, same, toy_view, weights

from zslbench import Batch, DataError, NotApplicable, Objective
from zslbench.errors import UsageError
from zslbench_methods.image_networks import Parts
from zslbench_methods.reconstruction import ReconstructionParams, reconstruction_terms
from zslbench_methods.spaen import SPAEN, SPAENParams
from zslbench_methods.spaen_images import SPAENImageParams, SPAENImages

VIEW = toy_view(seed=1)
PIXELS = torch.rand(len(VIEW.x), 3, 16, 16, generator=torch.Generator().manual_seed(0))
TINY: dict[str, Any] = {
    "image_size": 16,
    "width": 0.02,
    "encoder": "conv",
    "phi": "none",
    "hidden": 6,
    "autoencoder_hidden": 6,
    "lr": 1e-3,
    "autoencoder_lr": 1e-3,
    "critic_lr": 1e-3,
    "critic_steps": 1,
    "alpha": 2.0,
    "beta": 0.5,
}


def batch(seed: int = 0) -> Batch:
    return Batch(VIEW.x, VIEW.y, VIEW.classes, torch.Generator().manual_seed(seed), PIXELS)


def model(**values: Any) -> SPAENImages:
    made = build(SPAENImages, SPAENImageParams(**(TINY | values)), VIEW)
    assert isinstance(made, SPAENImages)
    return made


def step(player: Objective) -> None:
    """One step of a player, as the trainer takes it."""
    variables = [parameter for parameter in player.parameters if parameter.requires_grad]
    loss = player.loss(batch())
    assert isinstance(loss, dict)
    total = torch.stack(list(loss.values())).sum()
    for variable, gradient in zip(variables, torch.autograd.grad(total, variables, allow_unused=True), strict=True):
        if gradient is not None:
            variable.data -= 0.1 * gradient


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}


@pytest.mark.parametrize("training", ["joint", "two-stage"])
@pytest.mark.parametrize("phi", ["alexnet", "none"])
def test_each_player_trains_its_own_networks_and_never_phi(training: str, phi: str) -> None:
    made = SPAENImages(SPAENImageParams(**(TINY | {"image_size": 32, "phi": phi, "training": training})))
    made.pretrained = False
    made.build(VIEW.shape)
    own = {"critic": {"D"}, "autoencoder": {"F", "G"}, "embed": {"E"}}
    given = torch.rand(len(VIEW.x), 3, 32, 32)
    for stage in made.stages():
        for player in stage.objectives:
            before = weights(made)
            variables = [parameter for parameter in player.parameters if parameter.requires_grad]
            loss = player.loss(Batch(VIEW.x, VIEW.y, VIEW.classes, torch.Generator().manual_seed(0), given))
            assert isinstance(loss, dict)
            assert all(torch.isfinite(term) for term in loss.values())
            total = torch.stack(list(loss.values())).sum()
            for v, g in zip(variables, torch.autograd.grad(total, variables, allow_unused=True), strict=True):
                v.data -= 0.0 if g is None else 0.1 * g
            assert changed(before, weights(made)) == own[player.name]


def test_the_order_of_training_is_that_of_the_feature_level_version() -> None:
    def players(made: SPAEN) -> list[list[tuple[str, int]]]:
        return [[(player.name, player.steps) for player in stage.objectives] for stage in made.stages()]

    for training in ("joint", "two-stage"):
        features = build(SPAEN, SPAENParams(training=training, critic_steps=3), VIEW)
        assert isinstance(features, SPAEN)
        assert players(model(training=training, critic_steps=3)) == players(features)


def test_two_stages_reconstruct_without_an_adversary_too() -> None:
    stages = model(training="two-stage", beta=0.0, autoencoder_epochs=7).stages()
    assert [(stage.name, stage.epochs) for stage in stages] == [("autoencoder", 7), ("embed", 100)]


@pytest.mark.parametrize("training", ["joint", "two-stage"])
def test_with_both_weights_zero_only_the_ranking_loss_trains_only_e(training: str) -> None:
    (stage,) = model(alpha=0.0, beta=0.0, training=training).stages()
    (player,) = stage.objectives
    made = model(alpha=0.0, beta=0.0, training=training, dropout=0.0)
    before = weights(made)
    step(made.stages()[0].objectives[0])
    assert changed(before, weights(made)) == {"E"}
    values = {"ranking": 1000.0, "margin": 0.2, "negative": "random", "relative": False}
    features = build(SPAEN, SPAENParams(hidden=6, alpha=0, beta=0, **values), VIEW)
    assert isinstance(features, SPAEN)
    features.E.load_state_dict(made.E.state_dict())
    assert same(made.embed_loss(batch()), features.embed_loss(batch()))
    assert player.name == "embed"


def test_the_reconstruction_loss_is_means_of_squares_in_phi_and_in_pixels() -> None:
    made, truth = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)
    phi = nn.Conv2d(3, 2, 3)
    params = ReconstructionParams(alpha=3.0, lambda_p=7.0)
    terms = reconstruction_terms(made, truth, phi, params)
    pixels = sum((float(a) - float(b)) ** 2 for a, b in zip(made.flatten(), truth.flatten(), strict=True)) / (9 * 64)
    seen, wanted = phi(made).flatten().tolist(), phi(truth).flatten().tolist()
    perceived = sum((a - b) ** 2 for a, b in zip(seen, wanted, strict=True)) / (3 * 2 * 36)
    assert float(terms["pixels"]) == pytest.approx(3 * 7 * pixels, rel=1e-5)
    assert float(terms["phi"].detach()) == pytest.approx(3 * perceived, rel=1e-5)


def test_a_weight_of_zero_leaves_pixels_out() -> None:
    made, truth = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)
    assert set(reconstruction_terms(made, truth, nn.Identity(), ReconstructionParams(lambda_p=0.0))) == {"phi"}
    assert set(reconstruction_terms(made, truth, None, ReconstructionParams())) == {"pixels"}


def test_an_image_is_made_from_what_f_tells_of_the_crop_and_is_clamped() -> None:
    made = model()
    with torch.no_grad():
        images = made.reconstruct(VIEW.x, PIXELS)
        expected = made.G(made.F(PIXELS))
        assert torch.equal(images, expected.clamp(0, 1))
        assert torch.equal(images, made.reconstruct(torch.zeros_like(VIEW.x), PIXELS))
    assert images.shape == PIXELS.shape
    assert expected.min() < 0 and expected.max() > 1  # so that clamping had something to do


def test_without_a_reconstruction_loss_no_images_are_made() -> None:
    with pytest.raises(NotApplicable, match="alpha=0"):
        model(alpha=0.0, beta=0.0).reconstruct(VIEW.x, PIXELS)


def test_classes_are_told_by_e_of_the_features() -> None:
    made = model().eval()
    with torch.no_grad():
        torch.testing.assert_close(made.scores(VIEW.x, VIEW.classes), made.E(VIEW.x) @ VIEW.semantics.T)


def test_training_learns_to_reconstruct() -> None:
    """A few images of one colour each, which a space of 5 dimensions can hold."""
    colours = torch.rand(12, 3, 1, 1, generator=torch.Generator().manual_seed(1)).expand(12, 3, 16, 16)
    given = Batch(VIEW.x[:12], VIEW.y[:12], VIEW.classes, torch.Generator().manual_seed(0), colours)
    made = model(alpha=1.0, lambda_p=1.0, beta=0.0, width=0.05)
    optimizer = torch.optim.Adam([*made.F.parameters(), *made.G.parameters()], lr=3e-3)
    for _ in range(150):
        loss = made.autoencoder_loss(given)["pixels"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1 * float(colours.var(dim=0).mean())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"phi": "none", "lambda_p": 0}, "without phi, lambda_p must be above 0"),
        ({"encoder": "alexnet", "image_size": 62}, "encoder=alexnet needs an image_size of 63 at least"),
        ({"encoder": "conv", "image_size": 30}, "phi=alexnet needs an image_size of 31 at least"),
        ({"alpha": 0, "training": "two-stage"}, "needs alpha > 0"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SPAENImageParams.parse(values, "method 'spaen'")


@pytest.mark.parametrize("size", [31, 63])
def test_the_smallest_images_that_are_allowed_can_be_seen(size: int) -> None:
    parts = Parts({}, pretrained=False)
    with torch.no_grad():
        phi = parts.perceptual("alexnet")
        assert phi is not None and phi(torch.rand(1, 3, size, size)).numel() > 0
        if size >= 63:
            assert parts.encoder("alexnet-fc6", size, 1.0)[0](torch.rand(1, 3, size, size)).shape == (1, 4096)


def test_the_lower_part_of_f_can_be_kept_as_it_was() -> None:
    made = model(encoder_frozen=True)
    before = weights(made)
    step(next(player for player in made.stages()[0].objectives if player.name == "autoencoder"))
    after = weights(made)
    assert {name[:4] for name in after if not torch.equal(after[name], before[name])} == {"F.1.", "G.0.", "G.1."}


def test_a_file_of_weights_of_another_network_is_refused(tmp_path: Any) -> None:
    save_file(nn.Linear(2, 2).state_dict(), tmp_path / "f.safetensors")
    made = SPAENImages(SPAENImageParams(**TINY))
    made.weights = {"F": tmp_path / "f.safetensors"}
    with pytest.raises(DataError, match="another architecture"):
        made.build(VIEW.shape)


def test_the_defaults_are_the_papers_full_network() -> None:
    p = SPAENImageParams()
    assert (p.backbone, p.encoder, p.phi, p.image_size, p.width, p.crops) == (
        "resnet101",
        "alexnet",
        "alexnet",
        224,
        1.0,
        10,
    )
    assert (p.ranking, p.alpha, p.beta, p.training) == (1000.0, 10.0, 5.0, "joint")
    assert (p.lr, p.schedule, p.critic_slope) == (1e-4, "plateau", 0.0)


Term = Callable[[Batch], dict[str, Tensor]]


def test_random_numbers_do_not_depend_on_how_a_batch_is_shared() -> None:
    """Each half of a batch draws what the whole would, so that their mean losses are those of the whole."""
    from zslbench.api.embedder import Part

    made = model(negative="random")
    half = len(VIEW.x) // 2

    def losses(name: str, rows: slice, part: Part | None) -> dict[str, Tensor]:
        own = torch.Generator().manual_seed(3)
        term: Term = getattr(made, name)
        return term(Batch(VIEW.x[rows], VIEW.y[rows], VIEW.classes, own, PIXELS[rows], part))

    for name in ("embed_loss", "autoencoder_loss", "critic_loss"):
        whole = losses(name, slice(0, 2 * half), None)
        parts = [
            losses(
                name, slice(i * half, (i + 1) * half), Part(2 * half, i * half, 1.0, torch.Generator().manual_seed(3))
            )
            for i in range(2)
        ]
        for term, value in whole.items():
            assert float(value.detach()) == pytest.approx(sum(float(p[term].detach()) for p in parts) / 2, rel=1e-4)


def test_the_judge_is_trained_before_what_reconstructs_and_by_nothing_else() -> None:
    made = model(realism=3.0)
    [stage] = made.stages()
    assert [player.name for player in stage.objectives] == ["critic", "judge", "autoencoder", "embed"]
    players = {player.name: player for player in stage.objectives}
    for name, expected in [("judge", {"judge"}), ("autoencoder", {"F", "G"}), ("embed", {"E"}), ("critic", {"D"})]:
        before = {key: value.clone() for key, value in made.state_dict().items()}
        step(players[name])
        assert {key.partition(".")[0] for key in changed(before, made.state_dict())} == expected
    [alone, embed] = model(realism=3.0, training="two-stage", beta=0).stages()
    assert [player.name for player in alone.objectives] == ["judge", "autoencoder"]
    assert [player.name for player in embed.objectives] == ["embed"]


def test_the_judges_losses_are_log_likelihoods_of_real_and_made() -> None:
    made = model(realism=3.0)
    with torch.no_grad():
        images = made.G(made.F(PIXELS))
        real, fake = (torch.sigmoid(made.judge(some).double()) for some in (PIXELS, images))
        losses, deceived = made.judge_loss(batch()), made.reconstruction_loss(images, batch())["real"]
    assert float(losses["real"]) == pytest.approx(float(-real.log().mean()), rel=1e-4)
    assert float(losses["made"]) == pytest.approx(float(-(1 - fake).log().mean()), rel=1e-4)
    assert float(deceived) == pytest.approx(float(-3.0 * fake.log().mean()), rel=1e-4)


def test_without_its_weight_there_is_no_judge_and_nothing_else_changes() -> None:
    plain, judged = model(), model(realism=1.0)
    assert not any(name.startswith("judge") for name in plain.state_dict())
    assert "real" not in plain.reconstruction_loss(PIXELS, batch())
    shared = {name: value for name, value in judged.state_dict().items() if not name.startswith("judge")}
    assert shared.keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in shared.items())
