"""The table of checks against broken samples: each is caught by the check meant for it, and by no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from outside import distribution
from testing import broken_datasets, broken_evaluators, broken_methods
from testing.sound import Linear, Painter, Ridge, Right, Separable, Shifted, Whitened

from zslbench import Preset
from zslbench.discovery.registry import Entry
from zslbench.testing import CHECKS, CheckFailed, name_of, promise_of, verdicts
from zslbench.testing import methods as method_checks
from zslbench.testing.checks import judge
from zslbench.testing.presets import check_presets_learn
from zslbench.testing.registration import check_registration_is_light
from zslbench.testing.subjects import Subject

TABLES = {
    "method": broken_methods.SAMPLES,
    "dataset": broken_datasets.SAMPLES,
    "evaluator": broken_evaluators.SAMPLES,
}
SOUND: list[Callable[[], Subject]] = [
    lambda: broken_methods.subject(Linear),
    lambda: broken_methods.subject(Whitened),
    lambda: broken_methods.subject(Ridge),
    lambda: broken_methods.subject(Painter, replace(broken_methods.CARD, input="images")),
    lambda: broken_methods.subject(Shifted, replace(broken_methods.CARD, setting="semantic-transductive")),
    lambda: broken_methods.subject(Shifted, replace(broken_methods.CARD, setting="transductive")),
    lambda: broken_datasets.subject(Separable()),
    lambda: broken_evaluators.subject(Right),
]
ONE_OF_EACH = {sample().kind: sample for sample in SOUND}
BROKEN = [
    pytest.param(check, sample, id=f"{kind}-{check}-{sample().name}")
    for kind, samples in TABLES.items()
    for check, sample in samples
]
NEEDS_GPU = {"devices_agree"}


@pytest.mark.parametrize(("check", "sample"), BROKEN)
def test_a_broken_sample_is_caught_by_the_check_meant_for_it_and_by_no_other(
    check: str, sample: Callable[[], Subject]
) -> None:
    if check in NEEDS_GPU and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    failed = {verdict.check: verdict.reason for verdict in verdicts(sample()) if verdict.verdict == "failed"}
    assert list(failed) == [check], failed
    assert len(failed[check].splitlines()) == 1


@pytest.mark.parametrize("sample", SOUND, ids=lambda sample: sample().name)
def test_a_sound_sample_passes(sample: Callable[[], Subject]) -> None:
    found = verdicts(sample())
    assert [verdict for verdict in found if verdict.verdict == "failed"] == []
    inapplicable = {
        "registration_is_light",  # these are not registered; see below
        "presets",
        "variants",
        "presets_learn",
        "devices_agree",
        "reconstructs",  # of those that make no images
        "reconstruction_improves",
        "deterministic",
        "loss_falls",
        "losses_are_pure",
        "resume",
        "watching_changes_nothing",
        "unseen_embeddings_have_no_influence",  # of those that declare it
        "factors_are_free_of_parameters",
        "assembled_equals_solved",
    }
    assert {verdict.check for verdict in found if verdict.verdict == "skipped"} <= inapplicable


@pytest.mark.parametrize("kind", CHECKS)
def test_every_check_has_a_broken_sample_and_a_promise_in_one_line(kind: str) -> None:
    checks = {name_of(check) for check in CHECKS[kind]}
    assert checks - {check for check, _ in TABLES[kind]} == {"registration_is_light"}  # its sample is a distribution
    for check in CHECKS[kind]:
        assert promise_of(check).endswith("."), check
        assert check.__doc__ == promise_of(check), f"{check.__name__}: one line"


@pytest.mark.parametrize("sample", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
@pytest.mark.parametrize(("line", "problem"), [("import torch", "imports torch"), ("", "")], ids=["heavy", "light"])
def test_a_plugin_that_imports_torch_to_register_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Callable[[], Subject], line: str, problem: str
) -> None:
    name = f"{'heavy' if line else 'light'}-{sample().name.lower()}"
    distribution(tmp_path, name, f"{line}\ndef zslbench_register(registry): ...")
    monkeypatch.syspath_prepend(tmp_path)
    subject = sample()
    subject.entry = Entry(subject.kind, subject.name, "module:attribute", subject.card, f"{name}:plugin")
    verdict = judge(check_registration_is_light, subject)
    assert verdict.verdict == ("failed" if problem else "ok"), verdict
    assert problem in verdict.reason


def test_devices_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU too: a model that does not hold all of itself in its state is another on the second device."""

    class Partial(broken_methods.Numbered):
        def scores(self, x: Any, classes: Any) -> Any:
            return super().scores(x, classes) * self.factor

        def build(self, shape: Any) -> None:
            super().build(shape)
            self.factor = float(next(self.number))

    monkeypatch.setattr(method_checks, "accelerator", lambda: torch.device("cpu"))
    method_checks.check_devices_agree(broken_methods.subject(Linear))
    with pytest.raises(CheckFailed, match="differ from those on the CPU"):
        method_checks.check_devices_agree(broken_methods.subject(Partial))


def test_presets_that_are_for_any_data_set_are_tried_and_no_others() -> None:
    """None of these learns; what is for other data alone is not to learn here."""
    elsewhere = {
        "birds": Preset("nobody", datasets={"cub": {"lr": 1e-12}}),
        "vectors": Preset("nobody", {"lr": 1e-12}, features="res101"),
    }
    presets = {"anywhere": Preset("nobody", {"lr": 1e-12})}
    for given, expected in ((elsewhere, "skipped"), ({**elsewhere, **presets}, "failed")):
        card = replace(broken_methods.CARD, presets=given)
        verdict = judge(check_presets_learn, broken_methods.subject(Linear, card))
        assert verdict.verdict == expected, verdict
    assert re.search(r"preset 'anywhere'.* \d+% are right .*chance is 10%", verdict.reason)


def test_a_preset_learns_with_the_scaling_that_it_names() -> None:
    class Loud(Linear):
        def loss(self, batch: Any) -> Any:
            return super().loss(batch) * (float("nan") if float(batch.x.min()) >= 0 else 1.0)  # as features are

    presets = {"raw": Preset("nobody", {"scale": "none"})}
    verdict = judge(check_presets_learn, broken_methods.subject(Loud, replace(broken_methods.CARD, presets=presets)))
    assert verdict.verdict == "failed" and "with preset 'raw': loss 'loss' became NaN" in verdict.reason
