"""DirectMap, SAE and SplitBranch: what each reconstructs from, and which loss reaches which network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from toy import build, toy_view, weights

from zslbench import Batch, NotApplicable
from zslbench_methods.reconstruction import ReconstructionParams
from zslbench_methods.reconstruction_baselines import DirectMap, SAEImage, SplitBranch

VIEW = toy_view(seed=1)
PIXELS = torch.rand(len(VIEW.x), 3, 16, 16, generator=torch.Generator().manual_seed(0))
TINY: dict[str, Any] = {"image_size": 16, "width": 0.02, "phi": "none", "hidden": 6, "autoencoder_hidden": 6}
ALL = pytest.mark.parametrize("method", [DirectMap, SAEImage, SplitBranch])


def batch() -> Batch:
    return Batch(VIEW.x, VIEW.y, VIEW.classes, torch.Generator().manual_seed(0), PIXELS)


def model(method: type[SAEImage], **values: Any) -> SAEImage:
    made = build(method, ReconstructionParams(**(TINY | values)), VIEW)
    assert isinstance(made, SAEImage)
    return made


def gradients(made: SAEImage, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*made.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name: torch.zeros(1) if slope is None else slope for name, slope in zip(names, found, strict=True)}


def stages(made: SAEImage) -> list[tuple[str, bool, dict[str, set[str]]]]:
    """Each stage with its players and the networks they train."""
    network = {parameter: name.split(".")[0] for name, parameter in made.named_parameters()}
    return [
        (
            stage.name,
            stage.finishing,
            {p.name: {network[parameter] for parameter in p.parameters} for p in stage.objectives},
        )
        for stage in made.stages()
    ]


def test_sae_and_splitbranch_train_both_networks_at_a_time() -> None:
    for method in (SAEImage, SplitBranch):
        assert stages(model(method)) == [("joint", False, {"generator": {"G"}, "embed": {"E"}})]


def test_directmap_trains_the_embedding_and_then_the_generator() -> None:
    assert stages(model(DirectMap)) == [("embed", False, {"embed": {"E"}}), ("generator", True, {"generator": {"G"}})]


@ALL
def test_the_generator_takes_as_many_steps_as_that_of_sp_aen(method: type[SAEImage]) -> None:
    made = model(method, epochs=7)
    generating = [stage for stage in made.stages() if any(player.name == "generator" for player in stage.objectives)]
    assert [(stage.epochs, stage.objectives[0].steps) for stage in generating] == [(7, 1)]


def test_reconstruction_reaches_e_in_sae_and_splitbranch_alone() -> None:
    def reaches(made: SAEImage) -> bool:
        loss = next(player.loss for stage in made.stages() for player in stage.objectives if player.name == "embed")
        terms = loss(batch())
        assert isinstance(terms, dict)
        return "pixels" in terms and float(gradients(made, terms["pixels"])["E.0.weight"].abs().sum()) > 0

    assert [reaches(model(method)) for method in (DirectMap, SAEImage, SplitBranch)] == [False, True, True]


@ALL
def test_the_generators_loss_leaves_the_embedding_alone(method: type[SAEImage]) -> None:
    made = model(method)
    loss = torch.stack(list(made.generator_loss(batch()).values())).sum()
    for name, slope in gradients(made, loss).items():
        assert (float(slope.abs().sum()) > 0) == name.startswith("G.") or "bias" in name


def test_only_the_first_half_of_splitbranch_is_classified_and_both_are_decoded() -> None:
    made = model(SplitBranch)
    a = VIEW.shape.attributes
    assert made.E(VIEW.x).shape == (len(VIEW.x), 2 * a)
    assert torch.equal(made.embed(VIEW.x), made.E(VIEW.x)[:, :a])
    last = "E.2.weight"
    classified = gradients(made, made.classification(made.E(VIEW.x), batch())["cls"])[last]
    assert float(classified[:a].abs().sum()) > 0 == float(classified[a:].abs().sum())
    decoded = gradients(made, made.reconstruction(made.E(VIEW.x), batch())["pixels"])[last]
    assert float(decoded[:a].abs().sum()) > 0 < float(decoded[a:].abs().sum())


@ALL
def test_images_are_made_from_e_of_the_features_and_not_from_the_crops(method: type[SAEImage]) -> None:
    made = model(method)
    with torch.no_grad():
        images = made.reconstruct(VIEW.x, PIXELS)
        assert torch.equal(images, made.G(made.E(VIEW.x)).clamp(0, 1))
        assert torch.equal(images, made.reconstruct(VIEW.x, torch.zeros_like(PIXELS)))
        assert not torch.equal(images, made.reconstruct(VIEW.x.flip(0), PIXELS))


@ALL
def test_without_a_reconstruction_loss_only_the_embedding_is_trained(method: type[SAEImage]) -> None:
    made = model(method, alpha=0.0)
    assert [players for _, _, players in stages(made)] == [{"embed": {"E"}}]
    assert set(made.embed_loss(batch())) == {"cls"}
    with pytest.raises(NotApplicable, match="alpha=0"):
        made.reconstruct(VIEW.x, PIXELS)


def test_generators_have_the_same_layers_but_for_what_they_are_given() -> None:
    sizes = [
        {name: value.shape for name, value in weights(model(m)).items() if name[0] == "G"}
        for m in (SAEImage, SplitBranch)
    ]
    different = [name for name in sizes[0] if sizes[0][name] != sizes[1][name]]
    assert different == ["G.1.0.0.weight"]
    assert sizes[1]["G.1.0.0.weight"] == (6, 2 * VIEW.shape.attributes)


@ALL
def test_what_is_made_does_not_depend_on_the_length_of_the_embedding(method: type[SAEImage]) -> None:
    made = model(method).eval()
    before = made.reconstruct(VIEW.x, PIXELS)
    with torch.no_grad():
        made.E[-1].weight.mul_(50)
        made.E[-1].bias.mul_(50)
    torch.testing.assert_close(made.reconstruct(VIEW.x, PIXELS), before, rtol=1e-4, atol=1e-4)
