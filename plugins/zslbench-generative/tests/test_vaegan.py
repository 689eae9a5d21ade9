"""f-VAEGAN and TF-VAEGAN: their losses recalculated, the feedback loops, and the softmax's input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from problem import ATTRIBUTES, CPU, FEATURES, SEEN, UNSEEN, batch, build, problem, values
from torch import Tensor
from zslbench_generative.vaegan import FVAEGAN, TFVAEGAN

from zslbench import DataError

CLASSES = SEEN + UNSEEN


def count(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def draws(seed: int, rows: int) -> tuple[Tensor, Tensor]:
    """What the generator's step draws: for the code, then for the noise."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(rows, ATTRIBUTES, generator=generator)
    return first, torch.randn(rows, ATTRIBUTES, generator=generator)


def decode(model: Any, z: Tensor, s: Tensor, feedback: Tensor | None = None) -> Tensor:
    return model.G(z[None], s[None], None if feedback is None else feedback[None])[0]


def test_their_networks_have_the_papers_shapes() -> None:
    h, model, fed = 20, build(FVAEGAN, hidden=20), build(TFVAEGAN, hidden=20)
    for each in (model, fed):
        assert count(each.E) == (FEATURES + ATTRIBUTES) * h + h + h * 2 * ATTRIBUTES + 2 * ATTRIBUTES
        assert count(each.G) == 2 * ATTRIBUTES * h + h + h * FEATURES + FEATURES
        assert count(each.D) == (FEATURES + ATTRIBUTES) * h + h + h + 1
    assert count(model.softmax) == FEATURES * CLASSES + CLASSES
    assert count(fed.Dec) == FEATURES * h + h + h * ATTRIBUTES + ATTRIBUTES
    assert count(fed.F) == 2 * (h * h + h)
    assert count(fed.softmax) == (FEATURES + h + ATTRIBUTES) * CLASSES + CLASSES


@pytest.mark.parametrize("standardise", [True, False])
def test_the_autoencoders_loss_is_the_evidence_bound_one_image_at_a_time(standardise: bool) -> None:
    model, given = build(FVAEGAN, standardise=standardise, adversary=3.0), batch(seed=4)
    losses = values(model.generator_loss(given))
    errors, divergences, judged = [], [], []
    with torch.no_grad():
        for x, s, first, second in zip(*model.inputs(given), *draws(4, len(given.x)), strict=True):
            mean, log_variance = model.E(torch.cat([x, s])).split(ATTRIBUTES)
            out = decode(model, mean + torch.exp(0.5 * log_variance) * first, s)
            fake = decode(model, second, s)
            if standardise:
                errors.append(sum((o - v) ** 2 / 2 for o, v in zip(out.tolist(), x.tolist(), strict=True)))
            else:
                p = (1 / (1 + torch.exp(-out.double()))).tolist()
                errors.append(
                    -sum(v * math.log(q) + (1 - v) * math.log(1 - q) for v, q in zip(x.tolist(), p, strict=True))
                )
                fake = 1 / (1 + torch.exp(-fake))
            divergences.append(-0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum().item())
            judged.append(model.D(fake[None], s[None]).item())
    n = len(given.x)
    assert losses["rec"] == pytest.approx(sum(errors) / n, rel=1e-5)
    assert losses["kl"] == pytest.approx(sum(divergences) / n, rel=1e-3)
    assert losses["adv"] == pytest.approx(-3.0 * sum(judged) / n, rel=1e-3, abs=1e-7)


def fed_back(model: Any, z: Tensor, s: Tensor, loops: int, delta: float) -> list[Tensor]:
    """The loops of one image written out."""
    out = [decode(model, z, s)]
    while len(out) < loops:
        hidden = model.Dec[0](out[-1])
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
        for layer in (model.F[0], model.F[2]):
            hidden = layer(hidden)
            hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
        out.append(decode(model, z, s, delta * hidden))
    return out


@pytest.mark.parametrize("loops", [1, 2, 3])
def test_each_loop_feeds_the_decoders_hidden_layer_back_into_the_generator(loops: int) -> None:
    model, given = build(TFVAEGAN, loops=loops, feedback=0.7, reconstruction=0.2), batch(seed=4)
    losses = values(model.generator_loss(given))
    errors, semantic = [], []
    with torch.no_grad():
        for layer in (model.F[0], model.F[2], model.Dec[0]):  # so that the feedback is not next to nothing
            layer.weight.mul_(20)
        losses = values(model.generator_loss(batch(seed=4)))
        for x, s, first, second in zip(*model.inputs(given), *draws(4, len(given.x)), strict=True):
            mean, log_variance = model.E(torch.cat([x, s])).split(ATTRIBUTES)
            decoded = fed_back(model, mean + torch.exp(0.5 * log_variance) * first, s, loops, 0.7)
            errors += [((out - x) ** 2).sum().item() / 2 for out in decoded]
            fakes = fed_back(model, second, s, loops, 0.7)
            semantic += [(model.Dec(fake) - s).abs().sum().item() for fake in fakes]
            if loops > 1:
                assert (fakes[-1] - fakes[0]).abs().max() > 1e-3
    assert losses["rec"] == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    assert losses["semantic"] == pytest.approx(0.2 * sum(semantic) / len(semantic), rel=1e-5)
    assert len(errors) == loops * len(given.x)


def test_without_feedback_and_reconstruction_it_is_f_vaegan_to_its_players() -> None:
    plain, fed = build(FVAEGAN), build(TFVAEGAN, loops=1, reconstruction=0.0)
    for name in ("E", "G", "D"):
        getattr(fed, name).load_state_dict(getattr(plain, name).state_dict())
    losses = values(fed.generator_loss(batch(seed=2)))
    assert losses.pop("semantic") == 0.0
    assert losses == values(plain.generator_loss(batch(seed=2)))
    assert values(fed.critic_loss(batch(seed=2))) == values(plain.critic_loss(batch(seed=2)))


def test_the_semantic_decoder_learns_from_real_features() -> None:
    model, given = build(TFVAEGAN), batch()
    with torch.no_grad():
        x, s = model.inputs(given)
        expected = sum((model.Dec(v) - w).abs().sum().item() for v, w in zip(x, s, strict=True)) / len(x)
        assert model.decoder_loss(given).item() == pytest.approx(expected, rel=1e-5)


def test_the_softmax_sees_features_the_decoders_hidden_layer_and_its_output() -> None:
    model = build(TFVAEGAN, hidden=20)
    x = batch().x
    with torch.no_grad():
        shown = model.represent(x)
        hidden = torch.nn.functional.leaky_relu(model.Dec[0](x), 0.2)
    assert torch.equal(shown[:, :FEATURES], x)
    torch.testing.assert_close(shown[:, FEATURES : FEATURES + 20], hidden)
    torch.testing.assert_close(shown[:, FEATURES + 20 :], model.Dec(x))


def test_features_that_are_no_probabilities_are_refused_unless_standardised() -> None:
    view = problem()
    model = build(FVAEGAN, standardise=False)
    with pytest.raises(DataError, match=r"FVAEGAN needs features in \[0, 1\], not .* to .*: scale by minmax"):
        model.solve(view.with_features(view.x - 0.5, None))
    build(FVAEGAN).solve(view.with_features(view.x - 0.5, None).to(CPU))
