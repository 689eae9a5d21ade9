"""Commands with a store and a data root of their own, and a plugin to be checked."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from outside import distribution, inside, store

__all__ = ["inside", "store"]

METHOD = """
    from torch import nn
    from zslbench import Embedder, GradientParams, param

    class MineParams(GradientParams):
        lr: float = param(1e-2, "learning rate", gt=0)

    class Mine(Embedder[MineParams]):
        scale = "zscore"

        def build(self, shape):
            self.map = nn.Linear(shape.features, shape.attributes)

        def embed(self, x):
            return self.map(x)

        def loss(self, batch):
            return (batch.s - self.map(batch.x)).square().sum(dim=1).mean()

    class Backwards(Mine):
        def scores(self, x, classes):
            return -super().scores(x, classes)
    """
PLUGIN = """
    from zslbench import EvaluatorCard, MethodCard

    def zslbench_register(registry):
        card = MethodCard(title="Mine", paper="nobody: Mine. 2026")
        registry.method("mine", "mine_method:Mine", card)
        registry.method("backwards", "mine_method:Backwards", card)
        registry.method("absent", "mine_method:Absent", card)
        registry.evaluator("mine", "mine_method:Evaluator", EvaluatorCard("nothing"))
    """


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The folder of a plugin: a method that is sound, one that is not, one that is not there, and so an evaluator."""
    (tmp_path / "mine_method.py").write_text(dedent(METHOD))
    return distribution(tmp_path, "mine", PLUGIN)
