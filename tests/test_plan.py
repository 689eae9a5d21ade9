"""Data sets and methods as asked for: features after an @, counterparts on images, presets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planned import execute, plan
from synthetic import Files

from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, PluginError, UsageError
from zslbench.runs.request import Request, split_source


def two_features(files: Files) -> None:
    files["vit"] = {"features": files["res101"]["features"][:5] * 2}


@pytest.fixture
def folder(make_xlsa17: Callable[..., Path]) -> Path:
    return make_xlsa17(name="mine", edit=two_features)


def test_features_named_with_the_data_set_are_read_and_win_over_those_for_all(folder: Path, tmp_path: Path) -> None:
    sources = [f"{folder}@vit", str(folder), f"{folder}@res101"]
    vit, default, named = plan(["eszsl"], sources, Request(root=tmp_path))
    assert [row.runs[0].spec.features for row in (vit, default, named)] == ["vit", "res101", "res101"]
    assert default.runs[0].spec.id == named.runs[0].spec.id != vit.runs[0].spec.id
    assert [row.dataset for row in (vit, default)] == ["mine", "mine"]
    assert {split_source(row.source)[0] for row in (vit, default, named)} == {str(folder)}
    over = plan(["eszsl"], sources, Request(root=tmp_path, features="vit"))
    assert [row.runs[0].spec.features for row in over] == ["vit", "vit", "res101"]


def test_a_run_finds_the_features_that_were_planned(folder: Path, tmp_path: Path) -> None:
    [row] = plan(["eszsl"], [f"{folder}@vit"], Request(root=tmp_path))
    record, arrays = execute(row.runs[0])
    assert record.spec.features == "vit" and 0 <= record.metrics["ausuc"] <= 1
    assert np.isfinite(arrays["best_seen"]).all()


def test_an_at_sign_in_the_name_of_a_folder_is_part_of_it(make_xlsa17: Callable[..., Path], tmp_path: Path) -> None:
    odd = make_xlsa17(name="me@home", edit=two_features)
    assert split_source(str(odd)) == (str(odd), None)
    assert split_source(f"{odd}@vit") == (str(odd), "vit")
    rows = plan(["eszsl"], [str(odd), f"{odd}@vit"], Request(root=tmp_path))
    assert [(row.dataset_title, row.runs[0].spec.features) for row in rows] == [
        ("me@home", "res101"),
        ("me@home", "vit"),
    ]


def test_a_colon_in_the_name_of_a_folder_is_part_of_it(make_xlsa17: Callable[..., Path], tmp_path: Path) -> None:
    odd = make_xlsa17(name="digits:size=3", edit=two_features)
    rows = plan(["eszsl"], [str(odd), f"{odd}@vit"], Request(root=tmp_path))
    assert [(row.dataset_title, row.runs[0].spec.features) for row in rows] == [
        ("digits:size=3", "res101"),
        ("digits:size=3", "vit"),
    ]


def test_options_of_a_data_set_reach_the_run_and_the_table(tmp_path: Path) -> None:
    given = "shapes:images_per_class=5,semantic_loss=0.5"
    plain, [chosen], [features] = (
        plan(["eszsl"], [source], Request(root=tmp_path))
        for source in ("shapes:images_per_class=5", given, f"{given}@pixels")
    )
    assert (chosen.dataset, chosen.dataset_title) == (given, "shapes, semantic_loss=0.5, images_per_class=5")
    assert chosen.source == given and features.source == f"{given}@pixels"
    assert chosen.runs[0].spec.id == features.runs[0].spec.id != plain[0].runs[0].spec.id
    record, _ = execute(chosen.runs[0])
    assert record.spec.dataset == chosen.dataset_title


def test_features_that_are_not_there_and_mistyped_names_are_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vat\.mat is missing; take what is there with --features res101 or vit"):
        plan(["eszsl"], [f"{folder}@vat"], Request(root=tmp_path))
    with pytest.raises(DataError, match="data set digits has no features 'res101'"):
        plan(["eszsl"], ["digits@res101"], Request(root=tmp_path))
    with pytest.raises(UsageError, match="unknown data set 'digit'; did you mean 'digits'"):
        plan(["eszsl"], ["digit@pixels"], Request(root=tmp_path))


def test_an_uncalibrated_run_is_the_same_run_without_what_needs_a_second_fit() -> None:
    [usual], [cheap] = [
        plan(["ale"], ["digits"], Request(root=Path(), calibrated=calibrated))[0].runs for calibrated in (True, False)
    ]
    assert usual.id == cheap.id
    record = execute(cheap)[0]
    assert record.training is not None and record.training.seconds_validation == 0
    assert record.metrics.keys() >= {"acc_uu", "h", "ausuc"} and "h_cal" not in record.metrics
    assert cheap.satisfied_by(record) and not usual.satisfied_by(record)


SCENES = "shapes:images_per_class=5,size=40"
TINY = "image_size=32,crops=1"


def test_on_images_the_counterpart_of_a_method_is_planned_under_its_own_name(tmp_path: Path) -> None:
    request = Request(root=tmp_path, input="images", preset="small")
    asked = ["spaen:alpha=1", "spaen@paper", "eszsl"]
    alias = plan(asked[:2], [SCENES], request)
    assert [row.label for row in alias] == ["spaen-image:alpha=1", "spaen-image@paper"]
    assert [row.settings for row in alias] == ["@small alpha=1", "@paper"]
    own = plan([row.label for row in alias], [SCENES], Request(root=tmp_path, preset="small"))
    assert [row.runs[0].spec.id for row in alias] == [row.runs[0].spec.id for row in own]
    assert all(row.runs[0].spec.input == "images" for row in own)
    [refused] = plan(asked[2:], [SCENES], request.model_copy(update={"preset": None}))
    assert refused.refusal == "ESZSL works on features, not on images; leave out --input"
    [features] = plan(["spaen"], [SCENES], Request(root=tmp_path, input="features"))
    assert features.runs[0].spec.method == "spaen"


def test_a_counterpart_that_is_not_registered_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = registry().entry("method", "eszsl")
    card = replace(entry.card, for_images="sae-images")
    monkeypatch.setitem(registry()._entries, ("method", "eszsl"), replace(entry, card=card))
    assert plan(["eszsl"], ["digits"], Request(root=tmp_path))[0].runs
    with pytest.raises(PluginError) as error:
        plan(["eszsl"], ["digits"], Request(root=tmp_path, input="images"))
    assert "method 'eszsl' of plugin 'zslbench:methods'" in str(error.value)
    assert "for_images = 'sae-images', and no method has this name; did you mean 'sae-image'" in str(error.value)


def test_a_preset_says_whether_it_is_smaller_than_what_was_published(tmp_path: Path) -> None:
    rows = plan(
        [f"directmap@small:{TINY}", f"directmap@paper:{TINY}", f"directmap:{TINY}"], [SCENES], Request(root=tmp_path)
    )
    assert [row.entrant.compares_with_published for row in rows] == [False, True, True]
    assert rows[2].runs[0].origin.startswith("given ")  # nothing but the request chooses a preset
