"""The plugin as it registers: names, cards, what tuning searches, and published numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import zslbench_modern

from zslbench import Embedder, MethodCard, Registry

NAMES = ("classnorm", "dem", "cosine-softmax")


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    zslbench_modern.zslbench_register(registry)
    return registry


def test_registering_imports_no_torch() -> None:
    code = (
        "import sys, zslbench, zslbench_modern as plugin; plugin.zslbench_register(zslbench.Registry());"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_methods_are_inductive_and_name_their_paper(registry: Registry) -> None:
    assert set(NAMES) <= set(registry.names("method"))
    for name in NAMES:
        card = registry.entry("method", name).card
        assert isinstance(card, MethodCard) and card.setting == "inductive"
        assert card.paper and card.summary and card.url.startswith("https://")


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_lie_in_what_tuning_searches(registry: Registry, name: str) -> None:
    method = registry.resolve("method", name, Embedder)
    space, defaults = method.params_type.search_space(), method.params_type()
    assert set(space) >= {"lr", "epochs"} and len(space) <= 5
    assert all(own.holds(getattr(defaults, key)) for key, own in space.items())
    assert method.scale in method.scales


@pytest.mark.parametrize(("name", "printed"), [("classnorm", "50.3"), ("dem", "29.2")])
def test_numbers_of_its_paper_stand_beside_a_method(name: str, printed: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "zslbench", "published", "-m", name, "-d", "cub", "--plain"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed in answer.stdout.split() and "ResNet-101" in answer.stdout
