"""The plugin as it registers: names, cards, presets, and who trains what in every method."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import zslbench_generative
from problem import build, train, weights
from zslbench_generative.cada_vae import CADAVAE
from zslbench_generative.clswgan import FCLSWGAN
from zslbench_generative.vaegan import FVAEGAN, TFVAEGAN

from zslbench import Embedder, MethodCard, Registry, Stage

OWN = {
    FCLSWGAN: {"classifier": {"classifier"}, "critic": {"D"}, "generator": {"G"}, "softmax": {"softmax"}},
    CADAVAE: {
        "autoencoders": {"encode_x", "encode_s", "decode_x", "decode_s"},
        "softmax": {"softmax"},
    },
    FVAEGAN: {"critic": {"D"}, "generator": {"E", "G"}, "softmax": {"softmax"}},
    TFVAEGAN: {"decoder": {"Dec"}, "critic": {"D"}, "generator": {"E", "G", "F"}, "softmax": {"softmax"}},
}
"""What each player trains; the critic, for one, never changes in the generator's step."""


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    zslbench_generative.zslbench_register(registry)
    return registry


def test_registering_imports_no_torch() -> None:
    code = (
        "import sys, zslbench, zslbench_generative as plugin; plugin.zslbench_register(zslbench.Registry());"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_method_needs_unseen_embeddings_and_says_so_with_its_paper(registry: Registry) -> None:
    assert registry.names("method") == ["f-clswgan", "cada-vae", "f-vaegan", "tf-vaegan"]
    for entry in registry.entries("method"):
        card = entry.card
        assert isinstance(card, MethodCard)
        assert card.setting == "semantic-transductive"
        assert any(year in card.paper for year in ("2018", "2019", "2020")) and card.url.startswith("https://")
        assert issubclass(registry.resolve("method", entry.name, Embedder), Embedder)


@pytest.mark.parametrize("dataset", ["sun", "cub", "awa1", "awa2", "apy", "flo", "elsewhere"])
def test_the_papers_values_are_valid_for_every_data_set(registry: Registry, dataset: str) -> None:
    for entry in registry.entries("method"):
        method = registry.resolve("method", entry.name, Embedder)
        given, scaling = entry.card.preset("paper").resolve(dataset, "res101")
        params = method.params_type.parse(given, entry.name)
        assert scaling == {"scale": "minmax"} and not params.standardise


def test_the_papers_numbers_of_features_are_those_of_a_class(registry: Registry) -> None:
    """Features a class in the paper, and training images and seen classes of the proposed split."""
    preset = registry.entry("method", "f-clswgan").card.preset("paper")
    for dataset, features, images, seen in [
        ("sun", 400, 10320, 645),
        ("cub", 300, 7057, 150),
        ("awa1", 1800, 19832, 40),
        ("awa2", 1800, 23527, 40),
        ("apy", 1800, 5932, 20),
        ("flo", 1200, 5631, 82),
    ]:
        assert preset.resolve(dataset, "res101")[0]["synthetic"] == pytest.approx(features / (images / seen), rel=2e-3)


@pytest.mark.parametrize("method", OWN)
def test_the_defaults_lie_in_what_tuning_searches_and_epochs_are_read_off_the_curve(method: Any) -> None:
    space = method.params_type.search_space()
    defaults = method.params_type()
    assert set(space) >= {"lr", "epochs", "synthetic"} and len(space) <= 6
    assert all(own.holds(getattr(defaults, name)) for name, own in space.items())


@pytest.mark.parametrize(
    ("method", "player"), [(method, player) for method, players in OWN.items() for player in players]
)
def test_each_player_trains_its_own_networks_and_no_other(method: Any, player: str) -> None:
    class Alone(method):
        def stages(self) -> list[Stage]:
            chosen = [o for stage in super().stages() for o in stage.objectives if o.name == player]
            return [Stage("alone", chosen, 1)]

    before = weights(build(method))
    after = weights(train(Alone, batch_size=32)[0])
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} - {"epoch"}
    assert changed == OWN[method][player]


@pytest.mark.parametrize("method", OWN)
def test_training_is_stages_of_finite_losses_and_ends_with_the_softmax(method: Any) -> None:
    _, fitted = train(method, epochs=2, batch_size=32)
    assert set(fitted.losses[-1]) - {"softmax/decay"} == {"softmax/real", "softmax/synthetic"}
    assert fitted.epochs == 2
