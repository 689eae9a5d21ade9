"""Hyper-parameters: text into values, bad input into one line, what is hashed, what tuning may vary."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from zslbench.api.embedder import Embedder, GradientParams
from zslbench.api.params import Params, Space, param
from zslbench.discovery.plugins import registry
from zslbench.errors import UsageError
from zslbench.runs.resolve import method_class

METHODS = registry().names("method")


class Example(Params):
    rate: float = param(0.1, "learning rate", search=(1e-3, 1.0), log=True, gt=0, le=2)
    count: int = param(3, "how many", search=(1, 9), ge=1)
    kind: Literal["left", "right"] = param("left", "which side", search=["left", "right"])
    exact: bool = param(False, "whether exact")


def parse(**values: Any) -> Example:
    return Example.parse(values, "method 'example'")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ({"rate": "0.5"}, 0.5),
        ({"rate": "1e-2"}, 0.01),
        ({"rate": "1"}, 1.0),
        ({"count": "7"}, 7),
        ({"kind": "right"}, "right"),
        ({"exact": "true"}, True),
        ({"exact": "False"}, False),
        ({"exact": "1"}, True),
    ],
)
def test_text_becomes_a_value_of_the_fields_type(text: dict[str, str], value: Any) -> None:
    (name,) = text
    found = getattr(parse(**text), name)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate": "0"}, ["rate='0'", "greater than 0"]),
        ({"rate": "2.5"}, ["rate='2.5'", "less than or equal to 2"]),
        ({"rate": "fast"}, ["rate='fast'", "number"]),
        ({"rate": "nan"}, ["rate='nan'"]),
        ({"rate": "inf"}, ["rate='inf'"]),
        ({"count": "2.5"}, ["count='2.5'", "integer"]),
        ({"count": 0}, ["count=0", "greater than or equal to 1"]),
        ({"kind": "up"}, ["kind='up'", "'left' or 'right'"]),
        ({"exact": "maybe"}, ["exact='maybe'", "boolean"]),
        ({"rat": "1"}, ["no parameter 'rat'", "did you mean 'rate'?"]),
        ({"zzz": "1"}, ["no parameter 'zzz'", "known: count, exact, kind, rate"]),
    ],
)
def test_a_wrong_value_is_one_line_that_names_method_parameter_and_what_is_valid(
    values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        parse(**values)
    message = str(error.value)
    assert message.startswith("method 'example'") and "\n" not in message
    assert all(word in message for word in words), message
    assert error.value.exit_status == 2


def test_a_method_without_parameters_says_so() -> None:
    with pytest.raises(UsageError, match="method 'bare' has no parameter 'rate'; it has none"):
        Params.parse({"rate": 1}, "method 'bare'")


def test_parameters_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().rate = 1.0


def test_changed_holds_what_differs_from_the_defaults_and_gives_it_back() -> None:
    assert parse().changed() == {}
    assert parse(rate="0.1", count=3, kind="left").changed() == {}  # an explicit default equals none
    changed = parse(rate="0.5", exact="yes").changed()
    assert changed == {"rate": 0.5, "exact": True}
    assert Example.parse(changed, "") == parse(rate=0.5, exact=True)


def test_a_default_out_of_range_is_noticed() -> None:
    class Wrong(Params):
        rate: float = param(-1.0, "learning rate", gt=0)

    with pytest.raises(UsageError, match="greater than 0"):
        Wrong.parse({}, "method 'wrong'")


def test_the_search_space_is_what_was_declared_and_leaves_the_rest_alone() -> None:
    assert Example.search_space() == {
        "rate": Space(low=1e-3, high=1.0, log=True),
        "count": Space(low=1, high=9, integer=True),
        "kind": Space(choices=("left", "right")),
    }


@pytest.mark.parametrize(
    ("text", "space", "grid"),
    [
        ("rate=0.01:1:log:3", Space(low=0.01, high=1.0, log=True, points=3), [0.01, 0.1, 1.0]),
        ("rate=0.5:2:4", Space(low=0.5, high=2.0, points=4), [0.5, 1.0, 1.5, 2.0]),
        ("count=1:5", Space(low=1, high=5, integer=True), [1, 2, 3, 4, 5]),
        ("count=1:100:log:3", Space(low=1, high=100, log=True, integer=True, points=3), [1, 10, 100]),
        ("count=2,7,2", Space(choices=(2, 7), integer=True), [2, 7]),
        ("kind=right", Space(choices=("right",)), ["right"]),
        ("exact=true,false", Space(choices=(True, False)), [True, False]),
        ("rate=0.1,1e-1,2", Space(choices=(0.1, 2.0)), [0.1, 2.0]),
    ],
)
def test_a_space_given_by_hand_has_values_of_the_fields_type(text: str, space: Space, grid: list[Any]) -> None:
    name, found = Example.parse_space(text, "method 'example'")
    assert (name, found) == (text.split("=")[0], space)
    assert found.grid() == pytest.approx(grid) and [type(v) for v in found.grid()] == [type(v) for v in grid]
    assert all(found.holds(value) for value in grid) and not found.holds(101)
    assert Example.parse_space(f"{name}={found}", "") == (name, found)  # as printed, it can be given again


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rat=1:2", ["method 'example' has no parameter 'rat'", "did you mean 'rate'?"]),
        ("rate", ["give NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C"]),
        ("rate=", ["give NAME=LOW:HIGH"]),
        ("rate=1:2:lin", ["'1:2:lin' is not LOW:HIGH, LOW:HIGH:log, LOW:HIGH:log:POINTS or A,B,C"]),
        ("rate=1:2:log:3:4", ["is not LOW:HIGH"]),
        ("rate=low:high", ["'low:high' is not LOW:HIGH"]),
        ("rate=1:", ["'1:' is not LOW:HIGH"]),
        ("rate=2:1", ["'2:1' is no range: LOW < HIGH"]),
        ("rate=0:1:log", ["LOW > 0 on a logarithmic scale"]),
        ("rate=0.1:1:1", ["2 points or more"]),
        ("count=1:inf", ["is no range"]),
        ("rate=nan:1", ["is no range"]),
        ("rate=0:1", ["0.0", "greater than 0"]),
        ("rate=1e-3:1e3:log", ["10.0", "less than or equal to 2"]),
        ("rate=1,3", ["'3'", "less than or equal to 2"]),
        ("rate=1,,2", ["''", "number"]),
        ("count=1.5:3", ["count is a whole number"]),
        ("count=1,2.5", ["'2.5'", "integer"]),
        ("kind=left,up", ["'up'", "'left' or 'right'"]),
        ("kind=0:1", ["0.0", "'left' or 'right'"]),
    ],
)
def test_a_wrong_space_is_one_line_that_repeats_it_and_says_what_is_wrong(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        Example.parse_space(text, "method 'example'")
    message = str(error.value)
    assert message.startswith(f"--search {text}: ") and "\n" not in message
    assert all(word in message for word in words), message


def test_a_subclass_keeps_the_parameters_it_names() -> None:
    class Base(Embedder[Example]):
        pass

    class Same(Base):
        pass

    class More(Example):
        extra: int = param(1, "one more")

    class Other(Base):
        params_type = More

    assert [kind.params_type for kind in (Base, Same, Other)] == [Example, Example, More]


@pytest.mark.parametrize("name", METHODS)
def test_every_built_in_method_can_be_tuned(name: str) -> None:
    kind = method_class(name).params_type
    assert kind.search_space()
    assert kind().changed() == {}


def test_what_the_trainer_understands_is_checked() -> None:
    for values in ({"epochs": 0}, {"batch_size": 0}, {"lr": 0}, {"beta1": 1}, {"patience": -1}, {"optimizer": "adm"}):
        with pytest.raises(UsageError):
            GradientParams.parse(values, "method")
