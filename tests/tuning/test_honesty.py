"""No test image, no test label and no embedding of an unseen class has any influence on a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from searching import configuration, search
from toy import toy_data

from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData
from zslbench.errors import RunError
from zslbench.records.search import Search
from zslbench.records.store import Store
from zslbench.report.rows import treatment
from zslbench.runs.request import Request
from zslbench.runs.resolve import resolve
from zslbench.runs.row import Row
from zslbench_methods.eszsl import ESZSLParams


def with_other_tests(data: ZSLData, features: Any) -> ZSLData:
    """The same problem to train on: test images, their labels and unseen class embeddings are others."""
    random = np.random.default_rng(5)
    x, y, s = data.features.copy(), data.labels.copy(), data.semantics.copy()
    for part in (data.test_seen, data.test_unseen):
        x[part] = features if features is not None else 1e3 * random.normal(size=x[part].shape)
        y[part] = random.permutation(y[part])
    s[data.split.unseen] = random.normal(size=s[data.split.unseen].shape)
    return replace(data, features=x, labels=y, semantics=s, features_fingerprint="other")


def log(found: Search) -> list[tuple[Any, ...]]:
    return [(trial.params, trial.state, trial.values) for trial in found.trials]


@pytest.mark.parametrize("features", [None, np.nan], ids=["garbage", "nan"])
@pytest.mark.parametrize("setting", get_args(Setting))
@pytest.mark.parametrize("method", ["example", "ridge"])
def test_other_test_images_labels_and_unseen_classes_give_the_same_search_bit_for_bit(
    run: Any, store: Store, method: str, setting: Setting, features: Any
) -> None:
    data = toy_data()
    found = []
    for given in (data, with_other_tests(data, features)):
        of = configuration(method, given, setting)
        found.append(search(store, run, of, trials=5, folds=2))
    one, other = found
    assert one.fingerprint != other.fingerprint  # so that nothing of the first search was simply found again
    assert log(one) == log(other) and one.best.values


@pytest.mark.parametrize("how", [{"semantics_scale": "whiten"}, {"semantics_scale": "l2"}], ids=str)
@pytest.mark.parametrize("method", ["example", "ridge"])
def test_so_do_those_where_class_embeddings_are_scaled(run: Any, store: Store, method: str, how: Any) -> None:
    data = toy_data()
    one, other = (
        search(store, run, configuration(method, given, request=how), trials=3, folds=2)
        for given in (data, with_other_tests(data, None))
    )
    assert one.id != other.id and log(one) == log(other) and one.best.values


def test_what_was_changed_does_decide_the_test(run: Any) -> None:
    data = toy_data()
    [one] = run([configuration(data=data).run(0)]).values()
    garbage, nan = with_other_tests(data, None), with_other_tests(data, np.nan)
    [other] = run([configuration(data=garbage).run(0)]).values()
    [broken] = run([configuration(data=nan).run(0)]).values()
    assert one.metrics["ausuc"] != other.metrics["ausuc"]
    assert isinstance(broken, RunError)


def test_a_tuned_run_says_in_its_record_where_its_values_are_from(run: Any, store: Store) -> None:
    of = configuration()
    found = search(store, run, of, trials=4, folds=2)
    [record] = run([of.run(3, params=found.tuned, origin=found.origin)]).values()
    assert record.params_from == f"tuned: 4 trials, ausuc, 2 folds (search {found.id})"
    assert {name: record.params[name] for name in found.best.params} == found.best.params
    assert record.spec.seed == 3 and record.spec.on == "test"


def test_rows_take_the_tuned_values_of_their_search_and_say_so(store: Store) -> None:
    request = Request(root=Path(), seeds=(0, 1))
    [of, other] = resolve(["eszsl", "sae"], ["digits"], request)
    found = search(store, lambda jobs: {}, of, folds=1)
    tuned, default = Row.of(of, found), Row.of(other)
    chosen = dict(found.best.params)
    scale, changed = chosen.pop("scale"), ESZSLParams(**chosen).changed()  # what was chosen may be the default
    assert [(job.spec.scale, job.spec.params) for job in tuned.runs] == [(scale, changed)]
    assert {one.origin for one in tuned.runs} == {found.origin}
    assert found.origin.startswith("tuned: grid of 147 trials, ausuc, 1 fold (search ")
    assert (treatment(tuned), treatment(default)) == ("tuned by AUSUC on 1 fold", "default")
    assert {one.origin for one in default.runs} == {"default"}
