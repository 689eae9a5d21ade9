"""A run's id: what decides its numbers, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned import plan

from zslbench import RunSpec
from zslbench.runs.request import Request
from zslbench.runs.resolve import method_class

BASE: dict[str, Any] = {
    "method": "devise",
    "method_version": 1,
    "params": {"epochs": 2, "lr": 0.01},
    "dataset": "digits",
    "fingerprint": "f" * 64,
    "features": "pixels",
    "scale": "zscore",
    "setting": "inductive",
    "seed": 0,
}
VALUES = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text())


def ids(*methods: str, **options: Any) -> list[str]:
    """Returns the ids of planned runs on digits."""
    return [job.spec.id for row in plan(list(methods), ["digits"], Request(root=Path(), **options)) for job in row.runs]


def test_the_id_is_the_hash_of_the_canonical_json() -> None:
    """Written out once; a change of this breaks every store in the world."""
    canonical = (
        '{"features":"pixels","fingerprint":"' + "f" * 64 + '","method":"devise",'
        '"method_version":1,"params":{"epochs":2,"lr":0.01},"scale":"zscore","schema_version":2,"seed":0,'
        '"setting":"inductive"}'
    )
    assert RunSpec(**BASE).id == hashlib.sha256(canonical.encode()).hexdigest()[:16]


@given(st.dictionaries(st.text(), VALUES), st.randoms())
def test_the_order_of_keys_is_irrelevant(params: dict[str, Any], random: Any) -> None:
    shuffled = list(params.items())
    random.shuffle(shuffled)
    fields = list({**BASE, "params": dict(shuffled)}.items())
    random.shuffle(fields)
    assert RunSpec(**dict(fields)).id == RunSpec(**{**BASE, "params": params}).id


@given(st.dictionaries(st.text(), VALUES))
def test_a_spec_read_back_has_the_same_id(params: dict[str, Any]) -> None:
    spec = RunSpec(**{**BASE, "params": params})
    assert RunSpec.model_validate_json(spec.model_dump_json()).id == spec.id


@given(st.text(), st.text())
def test_names_for_people_are_not_part_of_the_id(dataset: str, semantics: str) -> None:
    assert RunSpec(**{**BASE, "dataset": dataset, "semantics": semantics}).id == RunSpec(**BASE).id


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 3},
        {"method": "ale"},
        {"method_version": 2},
        {"code": "0123456789abcdef"},
        {"params": {"epochs": 3, "lr": 0.01}},
        {"params": {"epochs": 2}},
        {"fingerprint": "0" * 64},
        {"features": "res101"},
        {"scale": "l2"},
        {"semantics_scale": "whiten"},
        {"setting": "transductive"},
        {"seed": 1},
        {"on": "validation"},
        {"fold": 1},
        {"precision": "bf16"},
        {"stop_on": "ausuc"},
        {"stop_after": 8},
        {"stop_below": 0.25},
        {"input": "images"},
        {"pretrained": False},
        {"weights": {"phi": "0123456789abcdef"}},
        {"shots": 4},
        {"shots": 0.5},
        {"members": {"sae": "1"}},
    ],
    ids=str,
)
def test_whatever_decides_the_numbers_changes_the_id(change: dict[str, Any]) -> None:
    assert RunSpec(**{**BASE, **change}).id != RunSpec(**BASE).id


def test_every_field_but_the_labels_is_covered_above() -> None:
    later = {"code", "on", "fold", "precision", "input", "pretrained", "weights", "semantics_scale", "shots", "members"}
    later |= {"stop_on", "stop_after", "stop_below"}
    covered = {*BASE, "schema_version", *later} - {"dataset"}
    assert RunSpec.model_fields.keys() - {"dataset", "semantics"} == covered


def test_a_field_added_with_a_default_keeps_old_ids() -> None:
    class Later(RunSpec):
        temperature: float = 1.0

    assert Later(**BASE).id == RunSpec(**BASE).id
    assert Later(**BASE, temperature=2.0).id != RunSpec(**BASE).id


def test_an_explicit_default_equals_none() -> None:
    defaults = method_class("devise").params_type().model_dump()
    spelled = ",".join(f"{name}={value}" for name, value in defaults.items())
    plain, given_defaults = ids("devise", f"devise:{spelled}")
    assert "lr=" in spelled
    assert plain == given_defaults
    assert ids("devise", params={"lr": str(defaults["lr"])}) == [plain]
    assert ids("devise", scale="zscore") == [plain]  # DeViSE's own
    assert ids("devise", scale="none") != [plain]
    assert ids("devise", semantics_scale="none") == [plain] != ids("devise", semantics_scale="l2")


def test_a_preset_equals_the_same_parameters_given_one_by_one() -> None:
    preset, given_values = ids("sae@f2s", "sae:direction=f2s,relative=false", scale="l2")
    assert preset == given_values


def test_how_a_number_is_written_is_irrelevant() -> None:
    assert len(set(ids("devise:lr=0.01", "devise:lr=1e-2", "devise:lr=.010"))) == 1


def test_the_params_of_a_spec_are_those_that_differ_from_their_defaults() -> None:
    default = method_class("devise").params_type().model_dump()["epochs"]
    [row] = plan([f"devise:lr=0.25,epochs={default}"], ["digits"], Request(root=Path()))
    assert row.runs[0].spec.params == {"lr": 0.25}
