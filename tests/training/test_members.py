"""Methods that train other methods: what members may see, what identifies them, what an interruption costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from planned import plan
from torch import Tensor

from zslbench import ClassSet, DataError, Embedder, Member, Params, ProblemShape, TrainView, param
from zslbench.errors import RunError, UsageError
from zslbench.interruption import Interrupted
from zslbench.records.search import Search
from zslbench.runs.entrant import Run
from zslbench.runs.fit import fit_new, train
from zslbench.runs.member import Named, members_of
from zslbench.runs.model import _check_members
from zslbench.runs.problem import Problem
from zslbench.runs.request import Request
from zslbench.runs.resolve import resolve
from zslbench.testing.problem import separable
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit

CPU = torch.device("cpu")


class PairParams(Params):
    first: str = param("devise:epochs=2", "a method", method=True)
    second: str = param("none", "another, or none", method=["none"])


class Pair(Embedder[PairParams]):
    """The sum of the scores of its members."""

    def build(self, shape: ProblemShape) -> None:
        names = [name for name in (self.params.first, self.params.second) if name != "none"]
        self.members = torch.nn.ModuleList([Member(name) for name in names])
        for member in self.members:
            member.build(shape)

    def solve(self, view: TrainView) -> None:
        for member in self.members:
            member.fit(view)

    def finish(self, view: TrainView) -> None:
        for member in self.members:
            member.finish(view)

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return torch.stack([member.scores(x, classes) for member in self.members]).sum(dim=0)


def view(setting: Any = "inductive") -> TrainView:
    return separable().train_view(setting)


def fitted(seed: int = 0, how: Fit | None = None, **values: Any) -> Pair:
    model, _ = fit_new(lambda: Pair(PairParams(**values)), view(), seed, how or Fit(CPU))
    return model  # type: ignore[return-value]


def state(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def spec(*methods: Any, **options: Any) -> list[Any]:
    return [job.spec for row in plan(list(methods), ["digits"], Request(root=Path(), **options)) for job in row.runs]


def test_a_member_is_trained_as_the_method_alone_is_with_its_own_scaling() -> None:
    """DeViSE z-scores features. The member's scores of unscaled images are those of a run of its own with that seed."""
    with seeded(7, CPU):
        member = Member("devise:epochs=3")
        member.fit(view())
    with seeded(7, CPU):
        seed = int(torch.randint(2**31 - 1, ()))
    named = Named.of("devise:epochs=3")
    assert named.scaling.scale == "zscore"
    alone = train(
        lambda: named.method(named.params), Problem.of(separable(), "inductive", named.scaling), seed, Fit(CPU)
    )
    test = separable().test_view()
    x = test.x(slice(0, 50))
    with torch.no_grad():
        expected = alone.embedder.scores(alone.problem.scale(x), test.classes)
        assert torch.equal(member.scores(x, test.classes), expected)


def test_the_seed_of_the_owner_decides_its_members_and_no_other_state_does() -> None:
    torch.manual_seed(123)
    first = state(fitted(seed=1))
    torch.manual_seed(456)
    assert same(first, state(fitted(seed=1)))
    assert not same(first, state(fitted(seed=2)))


def test_no_gradient_reaches_a_member_and_training_its_owner_leaves_it_as_it_is_tested() -> None:
    model = fitted(first="cmt:epochs=1")
    assert [parameter for parameter in model.parameters() if parameter.requires_grad] == []
    model.train()
    assert not model.members[0].embedder.training


def test_an_inductive_member_sees_no_unseen_class_of_its_owner() -> None:
    seen: list[TrainView] = []
    member = Member("eszsl")
    member.build(view("semantic-transductive").shape)

    class Spy(type(member.embedder)):  # type: ignore[misc]
        def solve(self, view: TrainView) -> None:
            seen.append(view)
            super().solve(view)

    member.named = replace(member.named, method=Spy)
    member.fit(view("semantic-transductive"))
    assert seen[0].setting == "inductive" and seen[0].classes.names == view().classes.names
    assert torch.equal(seen[0].semantics, view().semantics)


def test_a_member_that_needs_unseen_classes_is_refused_where_there_are_none() -> None:
    member = Member("eszsl")
    card = replace(member.named.card, setting="semantic-transductive")
    member.named = replace(member.named, entry=replace(member.named.entry, card=card))
    with pytest.raises(RunError, match=r"member 'eszsl' is semantic-transductive.*method=True"):
        member.fit(view())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("devize", "unknown method 'devize'.*devise"),
        ("devise:marign=2", "member 'devise' has no parameter 'marign'.*margin"),
        ("devise:margin=-1", "member 'devise': parameter margin"),
        ("devise@paper", "takes no preset"),
        ("devise:scale=big", "scale=big: choose none"),
        ("devise:semantics_scale=whiten", "cannot be whitened"),
        ("devise:patience=3", "give epochs"),
        ("sae-image", "works on images"),
    ],
)
def test_what_cannot_be_a_member_is_refused_in_one_line_before_anything_runs(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        resolve([Pair(PairParams(first=text))], ["digits"], Request(root=Path()))
    assert "\n" not in str(refused.value)


def test_members_and_their_versions_are_part_of_the_identity_and_one_meaning_has_one_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, other = spec(Pair(PairParams(first="sae")), Pair(PairParams(first="sae", second="devise")))
    version = {name: str(Named.of(name).method.version) for name in ("sae", "devise")}
    assert (plain.members, other.members) == ({"sae": version["sae"]}, version)
    assert plain.id != other.id
    assert spec("sae")[0].members == {}
    default = Named.of("sae").params.lam  # type: ignore[attr-defined]
    [typed] = spec(Pair(PairParams(first=f"sae:lam={default}")))
    assert typed.id == plain.id and typed.params == {"first": "sae"}
    monkeypatch.setattr(Named.of("sae").method, "version", 99)
    assert spec(Pair(PairParams(first="sae")))[0].id != plain.id


def test_a_search_of_other_versions_of_members_is_another_search(monkeypatch: pytest.MonkeyPatch) -> None:
    fields: dict[str, Any] = {
        "method": "pair", "method_version": 1, "base": {}, "dataset": "d", "fingerprint": "f", "features": "x",
        "scale": "none", "setting": "inductive", "precision": "32", "metric": "ausuc", "folds": 1, "strategy": "tpe",
        "space": {}, "wanted": 1,
    }  # fmt: skip
    first, second = (Search(**fields, members={"sae": version}).id for version in "12")
    assert len({first, second, Search(**fields).id}) == 3
    assert Search(**fields, members={}).id == Search(**fields).id


def test_a_run_uses_what_its_members_use(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Named.of("sae").entry
    object.__setattr__(entry, "card", (before := entry.card))
    monkeypatch.setattr(entry.card.__class__, "setting", "inductive", raising=False)
    assert spec(Pair(PairParams(first="sae")))[0].setting == "inductive"
    object.__setattr__(entry, "card", replace(before, setting="semantic-transductive"))
    try:
        assert spec(Pair(PairParams(first="sae")))[0].setting == "semantic-transductive"
        assert spec(Pair(PairParams(first="devise")))[0].setting == "inductive"
    finally:
        object.__setattr__(entry, "card", before)


def test_a_kept_model_is_not_used_with_another_version_of_a_member() -> None:
    record: Any = SimpleNamespace(id="0123", spec=SimpleNamespace(members={"sae": Named.of("sae").state}))
    _check_members(record, PairParams(first="sae"))
    record.spec.members["sae"] = "99"
    with pytest.raises(UsageError, match=r"run 0123 has a member of version 99 of sae, .* run it again"):
        _check_members(record, PairParams(first="sae"))


def test_members_of_members_count() -> None:
    resolve([Pair(PairParams())], ["digits"], Request(root=Path()))  # registers it as "pair"
    outer = PairParams(first="pair:first=sae", second="eszsl")
    assert {named.entry.name for named in members_of(outer).values()} == {"pair", "sae", "eszsl"}


def test_a_run_that_is_sent_says_what_code_its_members_have() -> None:
    [entrant] = resolve([Pair(PairParams(first="sae"))], ["digits"], Request(root=Path()))
    assert '"method sae"' in entrant.run(0).sent()
    assert isinstance(entrant.run(0), Run)


def test_an_interrupted_member_goes_on_where_it_stopped_and_ends_bit_for_bit_alike(tmp_path: Path) -> None:
    """Interrupted in the second member: the first is not trained again."""
    methods = {"first": "devise:epochs=3", "second": "cmt:epochs=4"}
    whole = state(fitted(**methods))
    told: list[tuple[str, int]] = []

    def interrupt(progress: Any) -> None:
        told.append((progress.fit, progress.epoch))
        if told[-1] == ("final-2-cmt", 2):
            raise Interrupted

    how = Fit(CPU, checkpoint=tmp_path / "final.safetensors", checkpoint_seconds=0, on_epoch=interrupt)
    with pytest.raises(Interrupted):
        fitted(how=how, **methods)
    assert [fit for fit, _ in told] == ["final-1-devise"] * 3 + ["final-2-cmt"] * 2
    again: list[tuple[str, int]] = []
    how = replace(how, on_epoch=lambda progress: again.append((progress.fit, progress.epoch)))
    resumed = fitted(how=how, **methods)
    assert same(whole, state(resumed))
    assert again == [("final-2-cmt", 2), ("final-2-cmt", 3), ("final-2-cmt", 4)]


@pytest.mark.parametrize("setting", ["inductive", "semantic-transductive", "transductive"])
def test_a_cut_is_a_problem_of_the_same_kind_made_of_training_images_alone(setting: Any) -> None:
    whole = view(setting)
    torch.manual_seed(0)
    cut = whole.cut(0.3, 0.25)
    names = whole.classes.names
    novel = {name for name, seen in zip(cut.classes.names, cut.classes.seen.tolist(), strict=True) if not seen}
    assert len(novel) == 9 and len(cut.classes) == 30  # of the 30 seen classes
    assert cut.classes.seen.tolist() == [True] * 21 + [False] * 9
    assert cut.train.classes.names == (cut.classes.names if setting != "inductive" else cut.classes.names[:21])
    rows = {tuple(row.tolist()): names[c] for row, c in zip(whole.x, whole.y.tolist(), strict=True)}
    given = [(cut.train.x, cut.train.y, cut.train.classes), (cut.x, cut.y, cut.classes)]
    found = [[(tuple(row.tolist()), own.names[c]) for row, c in zip(x, y.tolist(), strict=True)] for x, y, own in given]
    for some in found:
        assert all(rows[row] == name for row, name in some)
    assert len({row for some in found for row, _ in some}) == len(whole.x) == sum(map(len, found))
    assert not novel & {name for _, name in found[0]}
    held_out = [name for _, name in found[1] if name not in novel]
    assert {name: held_out.count(name) for name in held_out} == dict.fromkeys(cut.classes.names[:21], 2)  # 8 each
    for name, s in zip(cut.classes.names, cut.classes.semantics, strict=True):
        assert torch.equal(s, whole.semantics[names.index(name)])
    if setting == "transductive":
        assert cut.train.unlabelled is not None
        assert {rows[tuple(row.tolist())] for row in cut.train.unlabelled} == novel


def test_cuts_of_other_seeds_are_others_and_too_few_classes_are_refused() -> None:
    torch.manual_seed(0)
    first = view().cut()
    torch.manual_seed(1)
    assert view().cut().classes.names != first.classes.names
    few = view()
    few = replace(few, x=few.x[few.y < 3], y=few.y[few.y < 3], classes=few.classes.select(range(3)))
    with pytest.raises(DataError, match="3 seen classes are too few"):
        few.cut()


def test_the_shape_without_unseen_classes_is_that_of_the_inductive_view() -> None:
    assert view("transductive").shape.seen_only == view().shape
    assert ProblemShape(4, 3, 5).seen_only == ProblemShape(4, 3, 5, seen=5)
    assert np.isfinite(view().x.numpy()).all()
