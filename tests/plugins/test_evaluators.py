"""A plugin's evaluator that fails, or claims what is not its own, costs its own metrics and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from outside import CHEAP, command, distribution

SOURCE = """
from zslbench import Evaluator, EvaluatorCard, Metric

def zslbench_register(registry):
    registry.evaluator("odd", "{module}_code:Odd", EvaluatorCard("odd"))
"""
CODE = """
from zslbench import Evaluator, Metric

class Odd(Evaluator):
    metrics = (Metric("{metric}", "odd"),)
    def evaluate(self, scorer):
        {body}
"""


def odd(folder: Path, body: str, metric: str = "odd") -> Path:
    site = distribution(folder, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(CODE.format(metric=metric, body=body))
    return site


@pytest.mark.parametrize(
    ("body", "metric", "reason"),
    [
        ("raise IndexError('off by one')", "odd", "failed (IndexError: off by one)"),
        ("return {'odd': float('nan')}", "odd", "failed (ValueError: its 'odd' is not finite)"),
        ("return {'acc_uu': 0.99}", "odd", "it returned 'acc_uu', which is not among its metrics"),
        ("return {'acc_uu': 0.99}", "acc_uu", "evaluator 'odd' is left out: its metric 'acc_uu' belongs to 'zsl'"),
    ],
)
def test_an_evaluator_that_fails_is_one_warning_and_the_run_is_whole(
    body: str, metric: str, reason: str, tmp_path: Path
) -> None:
    plain = json.loads(command("run", "eszsl", *CHEAP, "--json", "--existing", "rerun").out)["runs"][0]["metrics"]
    answer = command("run", "eszsl", *CHEAP, "--json", path=odd(tmp_path, body, metric))
    assert answer.status == 0
    assert json.loads(answer.out)["runs"][0]["metrics"] == plain
    [warning] = [line for line in answer.err.splitlines() if line.startswith("warning: ")]
    assert reason in warning
