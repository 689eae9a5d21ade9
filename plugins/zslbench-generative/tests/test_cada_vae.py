"""CADA-VAE: its losses recalculated, its warm-ups, and equal weight for every seen class."""

from __future__ import annotations

import pytest
import torch
from problem import ATTRIBUTES, FEATURES, SEEN, UNSEEN, batch, build, problem, train, values
from zslbench_generative.cada_vae import CADAVAE

from zslbench import Batch, TrainView

LATENT = 4
SMALL = {"latent": LATENT, "visual_encoder": 7, "semantic_encoder": 6, "visual_decoder": 5, "semantic_decoder": 3}


def test_its_networks_have_the_papers_shapes() -> None:
    model = build(CADAVAE, **SMALL)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in model.named_children()}
    assert sizes["encode_x"] == FEATURES * 7 + 7 + 7 * 2 * LATENT + 2 * LATENT
    assert sizes["encode_s"] == ATTRIBUTES * 6 + 6 + 6 * 2 * LATENT + 2 * LATENT
    assert sizes["decode_x"] == LATENT * 5 + 5 + 5 * FEATURES + FEATURES
    assert sizes["decode_s"] == LATENT * 3 + 3 + 3 * ATTRIBUTES + ATTRIBUTES
    assert sizes["softmax"] == (LATENT + 1) * (SEEN + UNSEEN)


def test_its_loss_is_recalculated_one_image_at_a_time() -> None:
    model, given = build(CADAVAE, **SMALL, divergence=0.3, cross=0.5, alignment=0.7, warm_up=93), batch(seed=4)
    model.epoch.fill_(1000)
    losses = values(model.autoencoder_loss(given))
    generator = torch.Generator().manual_seed(4)
    noise_x, noise_s = (torch.randn(len(given.x), LATENT, generator=generator) for _ in range(2))
    own, crossed, divergence, alignment = [], [], [], []
    with torch.no_grad():
        for x, s, of_x, of_s in zip(*model.inputs(given), noise_x, noise_s, strict=True):
            mean_x, log_x = model.encode_x(x).split(LATENT)
            mean_s, log_s = model.encode_s(s).split(LATENT)
            deviation_x, deviation_s = torch.exp(0.5 * log_x), torch.exp(0.5 * log_s)
            z_x, z_s = mean_x + deviation_x * of_x, mean_s + deviation_s * of_s
            own.append((model.decode_x(z_x) - x).abs().sum() + (model.decode_s(z_s) - s).abs().sum())
            crossed.append((model.decode_x(z_s) - x).abs().sum() + (model.decode_s(z_x) - s).abs().sum())
            for mean, log in ((mean_x, log_x), (mean_s, log_s)):
                divergence.append(0.5 * (mean**2 + log.exp() - log - 1).sum())
            alignment.append(torch.sqrt(((mean_x - mean_s) ** 2).sum() + ((deviation_x - deviation_s) ** 2).sum()))
    n = len(given.x)
    assert losses["own"] == pytest.approx(float(sum(own)) / n, rel=1e-5)
    assert losses["cross"] == pytest.approx(0.5 * float(sum(crossed)) / n, rel=1e-5)
    assert losses["divergence"] == pytest.approx(0.3 * float(sum(divergence)) / n, rel=1e-4)
    assert losses["alignment"] == pytest.approx(0.7 * float(sum(alignment)) / n, rel=1e-4)


@pytest.mark.parametrize(
    ("epoch", "divergence", "cross", "alignment"),
    [
        (0, 0.0, 0.0, 0.0),
        (6, 6 / 93, 0.0, 0.0),
        (14, 14 / 93, 0.0, 0.5),  # alignment rises in epochs 6 to 22
        (21, 21 / 93, 0.0, 15 / 16),
        (48, 48 / 93, 0.5, 1.0),  # cross-reconstruction in epochs 21 to 75
        (93, 1.0, 1.0, 1.0),
        (99, 1.0, 1.0, 1.0),
    ],
)
def test_weights_rise_in_the_papers_epochs(epoch: int, divergence: float, cross: float, alignment: float) -> None:
    model = build(CADAVAE, warm_up=93)
    model.epoch.fill_(1000)
    full = values(model.autoencoder_loss(batch()))
    model.epoch.fill_(epoch)
    now = values(model.autoencoder_loss(batch()))
    expected = {"own": 1.0, "divergence": divergence, "cross": cross, "alignment": alignment}
    assert {name: now[name] / full[name] for name in full} == pytest.approx(expected, abs=1e-5)


def test_a_shorter_warm_up_keeps_the_proportions() -> None:
    long, short = build(CADAVAE, warm_up=930), build(CADAVAE, warm_up=93)
    long.epoch.fill_(480)
    short.epoch.fill_(48)
    assert values(long.autoencoder_loss(batch())) == pytest.approx(values(short.autoencoder_loss(batch())))


def test_training_counts_its_epochs_for_the_warm_ups() -> None:
    _, fitted = train(CADAVAE, epochs=5, warm_up=4, batch_size=32)
    terms = [losses["autoencoders/alignment"] for losses in fitted.losses if "autoencoders/alignment" in losses]
    assert [term > 0 for term in terms] == [False, True, True, True, True]
    assert fitted.losses[0]["autoencoders/divergence"] == 0.0 < fitted.losses[1]["autoencoders/divergence"]


def test_each_seen_class_weighs_alike_however_many_images_it_has() -> None:
    """The loss of all images is the mean over classes of the mean over their images."""
    view = problem()
    rows = torch.cat([(view.y == c).nonzero().flatten()[: 1 + 2 * c] for c in range(SEEN)])
    uneven = TrainView(view.setting, view.x[rows], view.y[rows], view.classes)
    model = build(CADAVAE)
    model.solve(uneven)
    weight = model.balance(Batch(uneven.x, uneven.y, uneven.classes, torch.Generator()))
    values_of = torch.randn(len(rows), generator=torch.Generator().manual_seed(0))
    by_class = torch.stack([values_of[uneven.y == c].mean() for c in range(SEEN)])
    torch.testing.assert_close((weight * values_of).mean(), by_class.mean())


def test_images_are_tested_by_the_mean_of_their_code_and_trained_by_draws_of_it() -> None:
    model, given = build(CADAVAE, latent=LATENT), batch()
    with torch.no_grad():
        mean, log_variance = model.encode_x(model.visual(given.x)).split(LATENT, dim=1)
        torch.testing.assert_close(model.represent(model.visual(given.x)), mean)
        drawn = torch.stack([model.training_inputs(given) for _ in range(4000)])
    torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.08, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), log_variance.exp(), rtol=0.15, atol=0)
