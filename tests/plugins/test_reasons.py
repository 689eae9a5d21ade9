"""A stranger's method declares ablations and controls: what `zslbench paper` runs, tunes and says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from outside import command, distribution

SOURCE = """
from typing import Literal

import torch

from zslbench import Embedder, Exhibit, MethodCard, Params, Variant, param


class Stranger(Params):
    penalty: float = param(1.0, "weight of |W|^2", search=(0.01, 100.0), log=True, gt=0)
    twice: float = param(1.0, "weight of the second half", search=(0.5, 2.0), ge=0)
    half: Literal["second", "first"] = param("second", "which half counts again")
    bias: bool = param(True, "whether it has one")


class Method(Embedder[Stranger]):
    scale = "zscore"

    def build(self, shape):
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))
        self.register_buffer("b", torch.zeros(shape.attributes))

    def embed(self, x):
        return x @ self.W + self.b

    def solve(self, view):
        p, x, s = self.params, view.x.double(), view.semantics[view.y].double()
        weight = torch.ones(len(x), 1, dtype=x.dtype)
        weight[slice(len(x) // 2, None) if p.half == "second" else slice(len(x) // 2)] += p.twice
        if p.bias:
            self.b.copy_(s.mean(0))
            s = s - s.mean(0)
        gram = x.T @ (weight * x) + p.penalty * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        self.W.copy_(torch.linalg.solve(gram, x.T @ (weight * s)))


def zslbench_register(registry):
    card = MethodCard(
        "Stranger's",
        "nobody: Nothing. 2026",
        ablations={
            "once": Variant("once", {"twice": 0}, "Does counting again help?"),
            "fixed": Variant("all fixed", {"twice": 0, "penalty": 1, "bias": False}, "Does any of it?"),
        },
        controls={"first": Variant("the first half", {"half": "first"}, "Is it the second half?")},
        exhibits={"table-1": Exhibit("Why.", "table", metrics=("h", "ausuc"), variants=True)},
    )
    registry.method("strange", "stranger:Method", card)
"""
DIGITS = ("--dataset", "digits", "--device", "cpu")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "dists").mkdir()
    return distribution(tmp_path / "dists", "stranger", SOURCE)


def stored(store: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(found.read_text()) for found in store.glob(pattern)]


def test_each_row_of_a_strangers_table_is_tuned_over_what_it_does_not_fix(
    path: Path, store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    how = ("--seeds", "2", "--tuned", "--trials", "3", "--folds", "1")
    answer = command("paper", "strange", *DIGITS, *how, "--out", out, path=path)
    assert answer.status == 0, answer.err

    searches = {json.dumps(found["base"], sort_keys=True): found for found in stored(store, "tuned/*.json")}
    spaces = {base: (set(found["space"]), len(found["trials"])) for base, found in searches.items()}
    assert spaces == {
        '{"twice": 0.0}': ({"penalty"}, 3),
        "{}": ({"penalty", "twice"}, 3),
        '{"half": "first"}': ({"penalty", "twice"}, 3),
    }
    for base, found in searches.items():
        assert all(not set(trial["params"]) & set(json.loads(base)) for trial in found["trials"])

    page = (out / "table-1.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][1:]
    assert rows == ["once", "all fixed", "Stranger's", "the first half"]
    notes = [line.removeprefix("- ") for line in page.splitlines() if line.startswith("- ")]
    asked = [line.partition(" digits, AUSUC: ") for line in notes if "?" in line]
    assert [question for question, *_ in asked] == [
        "Does counting again help?",
        "Does any of it?",
        "Is it the second half?",
    ]
    assert all("95% interval" in said and "Stranger's" in said for *_, said in asked)
    each = "(once, Stranger's, the first half: 3 trials; all fixed: nothing left to search)"
    assert f"warning: these rows were not tuned over the same number of settings {each}." in notes

    fixed = [
        record["spec"]["params"] for record in stored(store, "runs/*/record.json") if record["spec"]["on"] == "test"
    ]
    assert fixed.count({"twice": 0.0, "bias": False}) == 2  # penalty is at its default
