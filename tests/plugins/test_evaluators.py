"""A plugin's evaluator is one like the built-in ones; where it fails, it costs its own metrics and nothing else."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import mean, variance

import pytest
from outside import CHEAP, command, distribution
from scipy import stats
from synthetic import make_xlsa17

from zslbench.records.store import Store

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


DISTANCE = """
import numpy as np
from zslbench import Evaluator, Metric

class Odd(Evaluator):
    metrics = (Metric("distance", "Distance", percent=False, higher_is_better=False),)

    def evaluate(self, scorer):
        self.kept = (scorer.generalized.choice() != scorer.view.y) * (1.0 + scorer.view.y)
        return {"distance": float(self.kept.mean())}

    def arrays(self, scorer):
        return {"kept": self.kept}

    def influence(self, scorer, metrics, arrays):
        return {"distance": arrays["kept"] / len(arrays["kept"])}
"""


def test_a_plugins_metric_is_a_column_and_rows_are_tested_in_it(tmp_path: Path, store: Path) -> None:
    """The test by hand: Welch's statistic over classes, of the images' differences, the classes' sizes being fixed."""
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(DISTANCE)
    compared = command("compare", "eszsl", "sae", *CHEAP, "--plain", path=site)
    assert compared.status == 0, compared.err
    assert "Distance" in compared.out.splitlines()[1].split()
    answer = command("table", "gbu", "-m", "eszsl,sae", *CHEAP, "--metrics", "DISTANCE,h", "--json", path=site)
    assert answer.err == "2 of 2 runs were stored already\n"
    [table] = json.loads(answer.out)
    [pair] = table["pairs"]

    kept = {}
    for record in Store(store).records():
        arrays = Store(store).arrays(record)
        kept[record.spec.method] = arrays["odd/kept"].tolist()
        assert record.metrics["distance"] == pytest.approx(mean(kept[record.spec.method]))
    lower, higher = sorted(kept, key=lambda name: mean(kept[name]))
    assert (pair["better"], pair["worse"]) == (lower, higher)
    difference = mean(kept[higher]) - mean(kept[lower])
    assert pair["difference"] == pytest.approx(difference)
    by_class = defaultdict(list)
    for y, a, b in zip(arrays["y"].tolist(), kept[higher], kept[lower], strict=True):
        by_class[y].append(a - b)
    images = len(arrays["y"])
    parts = {y: len(own) * variance(own) / images**2 for y, own in by_class.items()}
    total = sum(parts.values())
    freedom = total**2 / sum(part**2 / (len(by_class[y]) - 1) for y, part in parts.items())
    assert pair["p"] == pytest.approx(2 * stats.t.sf(difference / total**0.5, freedom))
    assert {row["label"]: row["distance_group"] for row in table["rows"]} == (
        {lower: "a", higher: "b"} if pair["p"] < 0.05 else {lower: "a", higher: "a"}
    )

    shown = command("table", "gbu", "-m", "eszsl,sae", *CHEAP, "--csv", path=site)
    flat = list(csv.DictReader(io.StringIO(shown.out)))
    assert [float(row["distance"]) for row in flat] == pytest.approx([mean(kept["eszsl"]), mean(kept["sae"])])
    assert "ausuc_group" in flat[0] and "distance_group" not in flat[0]


def test_influences_that_are_wrong_cost_the_test_and_are_one_warning(tmp_path: Path) -> None:
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(DISTANCE.replace('/ len(arrays["kept"])', "[:3]"))
    answer = command("table", "gbu", "-m", "eszsl,sae", *CHEAP, "--metrics", "distance", path=site)
    assert answer.status == 0
    assert "group" not in answer.out.splitlines()[1].split()
    warnings = {line for line in answer.err.splitlines() if line.startswith("warning: ")}
    assert [line for line in warnings if "its influences on 'distance' are not a finite number for each" in line]


BIAS = """
from zslbench import Evaluator, Metric, NotApplicable

class Odd(Evaluator):
    metrics = (Metric("bias", "Bias", higher_is_better=False),)
    version = {version}

    def evaluate(self, scorer):
        d = scorer.generalized
        return {{"bias": {factor} * float((d.best_seen >= d.best_unseen)[~d.seen].mean())}}
"""


def test_an_evaluator_installed_later_measures_stored_runs_and_trains_nothing(tmp_path: Path, store: Path) -> None:
    methods = ("compare", "devise:epochs=2", "sae", *CHEAP, "--plain")
    before = command(*methods)
    kept = {record.id: record for record in Store(store).records()}
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(BIAS.format(version=1, factor=1.0))
    after = command(*methods, path=site)
    assert after.err.splitlines()[-1] == "2 of 2 runs were stored already" and "[1/2]" not in after.err
    assert "Bias" in after.out and "Bias" not in before.out
    measured = {record.id: record for record in Store(store).records()}
    assert measured.keys() == kept.keys()
    for run, record in measured.items():
        assert record.training == kept[run].training and record.provenance == kept[run].provenance
        decisions = Store(store).arrays(record)
        taken = decisions["best_seen"] >= decisions["best_unseen"]
        assert record.metrics == kept[run].metrics | {"bias": pytest.approx(taken[~decisions["seen"]].mean())}
        assert record.measured == kept[run].measured | {"odd": 1}

    assert command(*methods, path=site).out == after.out
    without = command(*methods)  # uninstalled: the column goes, and the runs stay
    assert without.out == before.out and "2 of 2 runs were stored already" in without.err


def test_another_version_of_an_evaluator_measures_anew(tmp_path: Path, store: Path) -> None:
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(BIAS.format(version=1, factor=1.0))
    command("run", "sae", *CHEAP, path=site)
    [first] = Store(store).records()
    (site / "odd_code.py").write_text(BIAS.format(version=2, factor=0.5))
    assert "1 of 1 runs were stored already" in command("run", "sae", *CHEAP, path=site).err
    [second] = Store(store).records()
    assert second.id == first.id and second.measured["odd"] == 2
    assert second.metrics["bias"] == pytest.approx(first.metrics["bias"] / 2)


NEEDY = """
from zslbench import Evaluator, Metric

class Odd(Evaluator):
    metrics = (Metric("odd", "Odd"),)

    def evaluate(self, scorer):
        import numpy as np
        return {"odd": float(scorer.scores(slice(0, 1), np.arange(2)).sum() * 0)}
"""


TOP_5 = """
import numpy as np
from zslbench import Evaluator, Metric

class Odd(Evaluator):
    metrics = (Metric("top5", "Top-5"),)

    def evaluate(self, scorer):
        classes = np.arange(len(scorer.view.classes))
        scores = scorer.scores(slice(0, len(scorer.view)), classes).numpy()
        best = np.argsort(-scores, axis=1)[:, :5]
        return {"top5": float((best == scorer.view.y[:, None]).any(axis=1).mean())}
"""


def test_an_evaluator_of_every_score_measures_stored_runs_with_their_models_and_trains_nothing(
    tmp_path: Path, store: Path
) -> None:
    methods = ("compare", "devise:epochs=2", "sae", "eszsl", "spaen:epochs=2", *CHEAP, "--plain")
    command(*methods)
    kept = {record.id: record for record in Store(store).records()}
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(TOP_5)
    answer = command(*methods, path=site)
    assert "Top-5" in answer.out and "[1/4]" not in answer.err
    assert answer.err.splitlines()[-1] == "4 of 4 runs were stored already"
    assert "sae: stored runs are measured with their kept models" in answer.err
    for record in Store(store).records():
        assert record.training == kept[record.id].training and record.model == kept[record.id].model
        assert set(record.measured_later) == {"odd"} and "zslbench" in record.measured_later["odd"]
    fresh = command(*methods, "--store", tmp_path / "fresh", path=site)
    assert fresh.status == 0
    assert {r.id: r.metrics["top5"] for r in Store(tmp_path / "fresh").records()} == {
        r.id: r.metrics["top5"] for r in Store(store).records()
    }


def test_measure_asks_later_evaluators_of_stored_runs_and_says_what_it_cannot(tmp_path: Path, store: Path) -> None:
    command("run", "sae", *CHEAP, "--scale", "l2")
    command("run", "devise:epochs=2", *CHEAP, "--keep-model", "never")
    kept = {record.spec.method: record for record in Store(store).records()}
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(TOP_5)
    answer = command("measure", "--all", path=site)
    lines = {line.split()[1]: line for line in answer.out.splitlines()}
    [sae, devise] = [Store(store).lookup(kept[name].id) for name in ("sae", "devise")]
    assert lines["sae"] == f"{sae.id} sae on digits: Top-5 {100 * sae.metrics['top5']:.1f}"
    assert "it needs the model, and these runs kept decisions alone" in lines["devise"] and answer.status == 1
    assert sae.training == kept["sae"].training and devise == kept["devise"]
    again = command("measure", sae.id[:6], "--evaluator", "odd", path=site)
    assert again.out == f"{sae.id} sae on digits: nothing is missing\n" and again.status == 0
    assert "--evaluator eve: there is none" in command("measure", "--all", "--evaluator", "eve").error()
    assert "give run ids, or --all for every run" in command("measure").error()


def test_a_run_whose_data_are_others_now_is_measured_by_nobody(tmp_path: Path, store: Path) -> None:
    folder = make_xlsa17(tmp_path)
    assert command("run", "eszsl", "-d", folder, "--uncalibrated").status == 0
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(TOP_5)
    [record] = Store(store).records()
    shutil.rmtree(folder)
    gone = command("measure", record.id, path=site)
    assert gone.status == 1 and str(folder) in gone.out and len(gone.out.splitlines()) == 1
    make_xlsa17(tmp_path, seed=1)
    other = command("measure", record.id, path=site)
    assert "its data set toy or its method eszsl is another now" in other.out.lower()
    assert [record] == list(Store(store).records())


def test_an_evaluator_that_needs_every_score_says_so_of_runs_without_models_and_measures_new_ones(
    tmp_path: Path, store: Path
) -> None:
    command("run", "sae", *CHEAP, "--keep-model", "never")
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(NEEDY)
    answer = command("run", "sae", *CHEAP, path=site)
    assert answer.status == 0
    [warning] = [line for line in answer.err.splitlines() if line.startswith("warning: ")]
    assert warning == (
        "warning: evaluator 'odd' cannot measure stored runs: it needs the model, and these runs kept decisions alone; "
        "--existing rerun measures them"
    )
    assert command("run", "sae", *CHEAP, "--existing", "rerun", path=site).status == 0
    [record] = Store(store).records()
    assert record.metrics["odd"] == 0.0


def test_a_plugins_metric_can_be_tuned_by_in_either_direction(tmp_path: Path, store: Path) -> None:
    site = distribution(tmp_path, "odd", SOURCE.format(module="odd"))
    (site / "odd_code.py").write_text(BIAS.format(version=1, factor=1.0))
    for method, how in (("sae", ()), ("devise", ("--trials", "4"))):
        tune = ("tune", method, "--metric", "bias", "--folds", "1", *how, "-d", "digits", "--json")
        [search] = json.loads(command(*tune, path=site).out)
        values = [trial["values"][0] for trial in search["trials"] if trial["state"] == "complete"]
        assert len(values) > 1 and search["value"] == min(values) < max(values)
