"""Families of backbones and text encoders: one class for many names, of plugins and of the harness alike."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from zslbench import Backbone, BackboneCard, Family, Registry
from zslbench.errors import Hint, PluginError, UsageError

CARD = BackboneCard("A Title", "none")


class Fruit(Family, Backbone):
    def __init__(self, name: str, weights: Path | None = None, pretrained: bool = True) -> None:
        super().__init__()
        self.name = name

    @classmethod
    def names(cls) -> list[str]:
        return ["apple", "pear"]


class Stones(Fruit):
    """Takes any name that is long enough, and lists one that is fruit too."""

    @classmethod
    def names(cls) -> list[str]:
        return ["cherry", "apple"]

    @classmethod
    def wrong(cls, name: str) -> str:
        return "" if len(name) > 4 else "it is too short"


class Alone(Backbone):
    pass


HERE = __name__


@pytest.fixture
def filled() -> Registry:
    registry = Registry()
    registry.backbone("alone", f"{HERE}:Alone", CARD)
    registry.backbone("fruit:", f"{HERE}:Fruit", BackboneCard("fruit", "none"))
    registry.backbone("stones:", f"{HERE}:Stones", BackboneCard("stones", "none"))
    return registry


@pytest.mark.parametrize(
    ("text", "full", "made", "name"),
    [
        ("fruit:apple", "fruit:apple", Fruit, "apple"),
        ("apple", "fruit:apple", Fruit, "apple"),
        ("cherry", "stones:cherry", Stones, "cherry"),
        ("stones:apple", "stones:apple", Stones, "apple"),
        ("stones:x:y/z", "stones:x:y/z", Stones, "x:y/z"),
    ],
)
def test_a_member_is_made_with_the_rest_of_its_name(
    filled: Registry, text: str, full: str, made: type[Fruit], name: str
) -> None:
    found, make = filled.maker("backbone", text, Backbone)
    member = make(weights=None, pretrained=False)
    assert (found, type(member), member.name) == (full, made, name)


def test_what_is_registered_alone_is_as_it_was(filled: Registry) -> None:
    assert filled.maker("backbone", "alone", Backbone) == ("alone", Alone)
    with pytest.warns(Hint, match="A title: taken as backbone alone"):
        assert filled.maker("backbone", "A title", Backbone) == ("alone", Alone)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fruit:aple", "backbone fruit:aple: there is no such name; did you mean 'apple'?"),
        ("fruit:", "backbone fruit:: there is no such name"),
        ("stones:fig", "backbone stones:fig: it is too short"),
        ("nuts:hazel", "backbone nuts:hazel: there is no family 'nuts'; write fruit:NAME or stones:NAME"),
        ("chery", "unknown backbone 'chery'; did you mean 'cherry'?"),
        ("fruit", "unknown backbone 'fruit'; `zslbench list backbones` names those there are"),
    ],
)
def test_a_name_that_none_has_is_one_line(filled: Registry, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(said)}$"):
        filled.maker("backbone", text, Backbone)


def test_a_family_must_be_one_and_only_backbones_and_encoders_have_any(filled: Registry) -> None:
    filled.backbone("odd:", f"{HERE}:Alone", CARD)
    with pytest.raises(PluginError, match=r"its name ends with a colon, so .*:Alone must be a Family"):
        filled.maker("backbone", "odd:x", Backbone)
    with pytest.raises(PluginError, match="is not lower-case letters, digits and single hyphens"):
        filled.engine("many:", "m:A", CARD)  # type: ignore[arg-type]


def test_what_is_found_early_imports_no_later_family(filled: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.backbone("late:", "gone_module:Late", CARD)
    monkeypatch.setitem(sys.modules, "gone_module", None)
    assert filled.maker("backbone", "cherry", Backbone)[0] == "stones:cherry"
    with pytest.raises(PluginError, match="cannot be loaded from gone_module:Late"):
        filled.maker("backbone", "plum", Backbone)
