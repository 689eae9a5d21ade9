"""Models are kept beside records, and give what the run gave: in any process, on new images and for new classes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from outside import CHEAP, command
from toy import toy_data

import zslbench
from zslbench import Bench, DataError, TrainedModel
from zslbench.errors import PluginError, UsageError
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs import execute
from zslbench.runs.kept import Kept
from zslbench_methods.eszsl import ESZSL

DIGITS = zslbench.load("digits")


@pytest.fixture
def bench(store: Path) -> Bench:
    return Bench(on_event=None, device="cpu")


def features(rows: np.ndarray) -> np.ndarray:
    assert DIGITS.features is not None
    return np.asarray(DIGITS.features[rows])


@pytest.mark.parametrize(
    "method", ["spaen:epochs=3", "cmt-star:epochs=3", "cmt-star:epochs=3,gate=loop", "eszsl", "sync"]
)
def test_a_kept_model_decides_every_test_image_as_the_run_did(bench: Bench, method: str) -> None:
    [result] = bench.run(method, dataset="digits", calibrated=False)
    model, decisions = result.model(), result.decisions()
    rows = np.concatenate([DIGITS.test_seen, DIGITS.test_unseen])
    given = model.predict(features(rows), gamma=0)
    chosen = [result.record.class_names.index(name) for name in given["class"]]
    assert (np.array(chosen) == decisions.choice()).mean() > 0.999  # one image in a batch rounds as it may
    best = np.where(decisions.best_seen > decisions.best_unseen, decisions.best_seen, decisions.best_unseen)
    np.testing.assert_allclose(given["score"], best, rtol=1e-4, atol=1e-5)


def test_among_unseen_classes_it_has_the_accuracy_of_the_record(bench: Bench) -> None:
    [result] = bench.run("sae", dataset="digits")
    given = result.model().predict(features(DIGITS.test_unseen), "unseen", top=3)
    true = np.array([DIGITS.class_names[c] for c in DIGITS.labels[DIGITS.test_unseen]])
    accuracies = [(given["class"][true == name] == name).mean() for name in np.unique(true)]
    assert np.mean(accuracies) == pytest.approx(result.metrics["acc_uu"], abs=1e-9)
    assert list(given.columns) == ["class", "score", "margin", "side", "class_2", "score_2", "class_3", "score_3"]
    assert (given["margin"] == given["score"] - given["score_2"]).all() and set(given["side"]) == {"unseen"}


def test_gamma_is_the_runs_own_where_seen_and_unseen_classes_compete(bench: Bench) -> None:
    [result] = bench.run("eszsl", dataset="digits")
    model = result.model()
    x = features(DIGITS.test_unseen)
    own, none = model.predict(x), model.predict(x, gamma=0)
    assert model.gamma == result.metrics["gamma"] != 0
    assert (own["class"] != none["class"]).any()
    assert own["class"].equals(model.predict(x, gamma=result.metrics["gamma"])["class"])
    assert model.predict(x, "unseen")["score"].equals(model.predict(x, "unseen", gamma=3)["score"])


SCORES = """
import sys, numpy, zslbench
model = zslbench.load_model(sys.argv[1], store=sys.argv[2], device="cpu")
sys.stdout.buffer.write(model.scores(numpy.load(sys.argv[3])).tobytes())
"""


def test_another_process_with_more_threads_scores_bit_for_bit_alike(bench: Bench, store: Path, tmp_path: Path) -> None:
    [result] = bench.run("devise:epochs=2", dataset="digits", calibrated=False)
    x = features(DIGITS.test_unseen)
    np.save(tmp_path / "x.npy", x)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    asked = [sys.executable, "-c", SCORES, result.id[:8], store, tmp_path / "x.npy"]
    answer = subprocess.run(asked, env=environment, capture_output=True, check=True)
    assert answer.stdout == result.model().scores(x).tobytes()


def test_classes_that_nobody_knew_are_told_from_those_of_the_run(bench: Bench) -> None:
    """An L, drawn as a display draws it, among the digits: its segments are d, e and f."""
    [result] = bench.run("sae", dataset="digits")
    model = result.model()
    segments = 3.0 * np.array([[0, 0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 0]])
    with pytest.warns(UserWarning, match="3 of 21 values"):  # with so few segments each weighs more
        classes = model.described(["L", "5", "0"], segments)
    assert model.sides(classes) == ["new", "unseen", "seen"]
    np.testing.assert_allclose(classes.semantics.norm(dim=1).numpy(), 1, rtol=1e-6)  # as those of training are
    np.testing.assert_allclose(classes.semantics[2], DIGITS.semantics[0], rtol=1e-6)
    given = model.predict(features(DIGITS.test_unseen), classes)
    assert set(given["side"]) == {"new", "unseen", "seen"}


def test_contributions_add_up_to_the_score(bench: Bench) -> None:
    [result] = bench.run("eszsl", dataset="digits", calibrated=False)
    model, x = result.model(), features(DIGITS.test_unseen[:20])
    np.testing.assert_allclose(model.contributions(x).sum(axis=2), model.scores(x), rtol=1e-4, atol=1e-5)
    [cosine] = bench.run("sae@f2s", dataset="digits", calibrated=False)
    model = cosine.model()
    np.testing.assert_allclose(model.contributions(x).sum(axis=2), model.scores(x), rtol=1e-4, atol=1e-5)
    [other] = bench.run("cmt:epochs=1", dataset="digits", calibrated=False)
    with pytest.raises(zslbench.NotApplicable, match="cmt are no sum over attributes"):
        other.model().contributions(x)


def test_whitened_class_embeddings_are_whitened_for_new_classes_too(bench: Bench) -> None:
    [result] = bench.run("eszsl", dataset="digits", semantics_scale="whiten", scale="zscore", calibrated=False)
    model = result.model()
    again = model.described(DIGITS.class_names, DIGITS.semantics)
    x = features(DIGITS.test_unseen[:20])
    order = [result.record.class_names.index(name) for name in DIGITS.class_names]
    np.testing.assert_allclose(model.scores(x, again), model.scores(x)[:, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "rows", "reason"),
    [
        (["a"], np.ones((1, 6)), "the class embeddings have 6 values; those of the run have 7"),
        (["a", "a"], np.ones((2, 7)), "class 'a' is there twice"),
        (["a", "b"], np.ones((1, 7)), r"the embeddings of 2 classes have shape \(1, 7\)"),
        (["a"], np.full((1, 7), np.nan), "the embedding of class 'a' is zero or not finite"),
        (["a"], np.zeros((1, 7)), "the embedding of class 'a' is zero or not finite"),
    ],
)
def test_classes_that_do_not_fit_are_refused(bench: Bench, names: list[str], rows: np.ndarray, reason: str) -> None:
    [result] = bench.run("eszsl", dataset="digits", calibrated=False)
    with pytest.raises(DataError, match=reason):
        result.model().described(names, rows)


def test_an_attribute_out_of_the_range_of_the_runs_classes_is_said(bench: Bench) -> None:
    [result] = bench.run("eszsl", dataset="digits", calibrated=False)
    with pytest.warns(UserWarning, match=r"2 of 7 values .* class 'odd', column 'a' is -0.5, and theirs are 0 to 0.5"):
        result.model().described(["odd"], [[-1, 0, 0, 0, 0, 0, 3**0.5]])


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.ones((2, 63)), r"the features have shape \(2, 63\); the run was trained on 64 columns"),
        (np.ones(64), r"the features have shape \(64,\)"),
        (np.array([[1.0] * 64, [np.nan] * 64]), "the features of image 2 are not finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(bench: Bench, x: np.ndarray, reason: str) -> None:
    [result] = bench.run("eszsl", dataset="digits", calibrated=False)
    with pytest.raises(DataError, match=reason):
        result.model().scores(x)


def test_which_models_are_kept(bench: Bench, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Store(store)
    assert opened.model_path(bench.run("eszsl", dataset="digits")[0].record)
    assert not opened.model_path(Bench(on_event=None, keep_model="never").run("sae", dataset="digits")[0].record)
    monkeypatch.setattr(execute, "LIMIT", 100)
    [large] = bench.run("sje:epochs=1", dataset="digits")
    assert not opened.model_path(large.record)
    with pytest.raises(DataError, match=f"run {large.id} kept no model; run it again with --keep-model always"):
        large.model()
    monkeypatch.setenv("ZSLBENCH_KEEP_MODEL", "always")
    assert opened.model_path(Bench(on_event=None).run("ale:epochs=1", dataset="digits")[0].record)
    with pytest.raises(UsageError, match="keep_model='sometimes': choose auto, always, never"):
        Bench(keep_model="sometimes")  # type: ignore[arg-type]
    bench.tune("devise:epochs=1", dataset="digits", folds=1, trials=2)
    trials = [record for record in opened.records() if record.spec.on == "validation"]
    assert trials and not any(record.model for record in trials)


def test_the_model_stays_when_the_record_is_measured_or_calibrated_later(bench: Bench, store: Path) -> None:
    [first] = bench.run("eszsl", dataset="digits", calibrated=False)
    [later] = bench.run("eszsl", dataset="digits")
    assert first.model().gamma is None and later.model().gamma is not None
    assert later.record.model == first.record.model
    [again] = bench.run("eszsl", dataset="digits", existing="rerun")
    assert [path.name for path in store.glob("runs/*/model-*")] == [again.record.model]


def test_a_flipped_bit_in_a_model_costs_the_model_alone(bench: Bench, store: Path) -> None:
    [result] = bench.run("eszsl", dataset="digits")
    path = Store(store).model_path(result.record)
    assert path is not None
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"model-.*: damaged, its content does not match its name") as caught:
        result.model()
    assert len(str(caught.value).splitlines()) == 1
    assert bench.run("eszsl", dataset="digits")[0].metrics == result.metrics
    with pytest.warns(UserWarning, match="damaged model"):
        [found] = [one for one in bench.verify() if one.kind == "record"]
    assert "does not match its name" in found.problem
    with pytest.raises(DataError, match="kept no model"):
        bench.record(result.id).model()


def test_a_file_of_another_format_is_refused() -> None:
    with pytest.raises(DataError, match="here: it is no kept model"):
        Kept.unpacked(b"nothing", "here")


def changed(record: RunRecord, **spec: object) -> RunRecord:
    return record.model_copy(update={"spec": record.spec.model_copy(update=spec)})


def test_a_method_that_is_gone_or_of_another_version_is_one_line(bench: Bench, store: Path) -> None:
    [result] = bench.run("eszsl", dataset="digits", calibrated=False)
    kept = Kept.unpacked(Store(store).model(result.record), "here")
    with pytest.raises(PluginError, match="of method 'gone', which is not installed; install zslbench 0"):
        TrainedModel(changed(result.record, method="gone"), kept, "here")
    with pytest.raises(UsageError, match=f"of version 99 of eszsl, and version {ESZSL.version} is installed"):
        TrainedModel(changed(result.record, method_version=99), kept, "here")
    other = replace(kept, state={})
    with pytest.raises(DataError, match="here: method 'eszsl' changed since"):
        TrainedModel(result.record, other, "here")


def test_data_that_exist_in_this_process_alone_have_models_too(bench: Bench) -> None:
    [result] = bench.run("eszsl", dataset=toy_data(), calibrated=False)
    data = toy_data()
    assert data.features is not None
    assert len(result.model().embed(data.features[:3])) == 3


def test_show_tells_whether_there_is_a_model(store: Path) -> None:
    run = json.loads(command("run", "eszsl", *CHEAP, "--json").out)["runs"][0]["id"]
    assert re.search(r"^model: kept, \d kB$", command("show", run, "--plain").out, re.MULTILINE)
    run = json.loads(command("run", "sae", *CHEAP, "--keep-model", "never", "--json").out)["runs"][0]["id"]
    assert "model: not kept" in command("show", run, "--plain").out
