"""Files of published numbers: what is refused, what the shipped one holds, and what stands beside a measured number."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

import zslbench_methods
from zslbench.discovery.plugins import registry
from zslbench.errors import Hint, PluginError
from zslbench.report.published import Number, Published, published_for, published_table, usable_numbers

HEAD = "method,dataset,split,setting,metric,value,source"
GOOD = "Mine,SUN,PS,GZSL,H,30.3,Table 1"
SHIPPED = Path(str(files(zslbench_methods).joinpath("published.csv")))

Register = Callable[..., list[Path]]


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Writes files of published numbers and makes them the only ones, beside given paths."""

    def write(*contents: str | bytes, beside: tuple[Path, ...] = ()) -> list[Path]:
        paths = []
        for i, content in enumerate(contents):
            paths.append(tmp_path / f"numbers{i}.csv")
            paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr(registry(), "published_files", [*beside, *paths])
        return paths

    return write


def lines(*rows: str) -> str:
    return "\n".join([HEAD, *rows, ""])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ["it is empty", "write the file anew"]),
        ("a,b\n", ["the column 'method' is missing", f"the first line must be {HEAD}"]),
        (lines().replace(",source", ""), ["the column 'source' is missing"]),
        (lines().replace("source", "value"), ["the column 'value' is there twice"]),
        (lines(GOOD, "Mine,SUN,PS,GZSL,H,30.3"), ["line 3", "it has 6 fields and the first line 7"]),
        (lines(GOOD.replace("Table 1", "Chen et al., Table 1")), ["line 2", "8 fields", "quote a field"]),
        (lines(GOOD.replace("Mine", "  ")), ["line 2", "the method is empty"]),
        (lines(GOOD.replace("SUN", "")), ["line 2", "the dataset is empty"]),
        (lines(GOOD.replace("Table 1", "")), ["line 2", "the source is empty"]),
        (lines(GOOD.replace("PS", "")), ["line 2", "the split is empty"]),
        (lines(GOOD.replace("PS", "PSS")), ["line 2", "unknown split 'PSS'", "PS (proposed), SS (standard)"]),
        (lines(GOOD.replace("GZSL", "GZS")), ["line 2", "unknown setting 'GZS'", "did you mean 'GZSL'"]),
        (lines(GOOD.replace(",H,", ",U->V,")), ["line 2", "unknown metric 'U->V'", "did you mean 'U->U'"]),
        (lines(GOOD.replace("GZSL", "ZSL")), ["line 2", "H is a number of the setting GZSL, not ZSL"]),
        (lines(GOOD.replace("30.3", "")), ["line 2", "the value is empty"]),
        (lines(GOOD.replace("30.3", "30.3%")), ["line 2", "the value '30.3%' is not a number", "such as 59.2"]),
        (lines(GOOD.replace("30.3", "nan")), ["line 2", "the value 'nan' is not a number"]),
        (lines(GOOD.replace("30.3", "3e1")), ["line 2", "the value '3e1' is not a number"]),
        (lines(GOOD, "", GOOD.replace("30.3", "303")), ["line 4", "H 303 is outside 0 to 100", "in percent"]),
        (lines(GOOD.replace("30.3", "-0.1")), ["line 2", "H -0.1 is outside 0 to 100"]),
        (lines("Mine,SUN,PS,GZSL,AUSUC,36.6,T"), ["line 2", "AUSUC 36.6 is outside 0 to 1", "areas are fractions"]),
        (
            lines("Mine,SUN,PS,reconstruction,pixel MSE unseen test,-1,T"),
            ["line 2", "pixel MSE unseen test -1 is negative"],
        ),
        (
            lines(GOOD, GOOD.replace("30.3", "30.4")),
            ["line 3", "H of 'Mine' on 'SUN' is 30.4 here and 30.3 at", "line 2", "'Table 1'", "keep the one"],
        ),
        (lines('"Mine'), ["the double quote in row 2 is not closed", "write the file anew"]),
        (lines(GOOD).encode("utf-16")[:-1], ["cannot be read as text", "write the file anew"]),
        (lines(GOOD.replace("30.3", "30,3")).replace(",", ";").replace("30;3", "30,3"), ["the value '30,3' is not"]),
    ],
)
def test_a_malformed_file_is_one_line_that_names_file_line_problem_and_remedy(
    register: Register, content: str | bytes, said: list[str]
) -> None:
    [path] = register(content)
    with pytest.raises(PluginError) as raised:
        published_table()
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for words in said:
        assert words in message


def test_a_file_that_went_away_is_one_line(register: Register) -> None:
    [path] = register(lines(GOOD))
    path.unlink()
    with pytest.raises(PluginError, match=r"numbers0\.csv: there is no such file"):
        published_table()


@pytest.mark.parametrize(
    "content",
    [
        lines(GOOD),
        lines(GOOD, GOOD.replace("30.3", "30.30")),  # said twice, the same both times
        lines(GOOD).replace("\n", "\r\n"),
        "\ufeff" + lines(GOOD, ""),
        lines(GOOD).replace(",", " , "),
        "note,source,value,metric,setting,split,dataset,method\nseen,Table 1,30.3,H,GZSL,PS,SUN,Mine\n",
    ],
)
def test_what_spreadsheets_do_to_a_file_does_no_harm(register: Register, content: str) -> None:
    [path] = register(content)
    expected = Number("Mine", "SUN", "PS", "GZSL", "H", Decimal("30.3"), "Table 1", f"{path}: line 2")
    assert published_table() == [expected]


@pytest.mark.parametrize("content", [lines(GOOD).replace(",", ";").encode(), lines(GOOD).encode("utf-16")])
def test_other_ways_of_spreadsheets_are_read_and_said(register: Register, content: bytes) -> None:
    register(content)
    with pytest.warns(Hint, match=r"numbers0\.csv: read with"):
        assert [number.value for number in published_table()] == [Decimal("30.3")]


@pytest.mark.parametrize(
    "row",
    [
        "A,SUN,PS,ZSL,U->U,100,T",
        "A,SUN,SS,ZSL,U->U,0.0,T",
        "A,CUB,Chao2016,GZSL,AUSUC,1,T",
        "A,SUN,PS,reconstruction,pixel MSE unseen test,120.5,T",  # no accuracy: it has no upper end
    ],
)
def test_values_at_the_ends_of_their_range_are_taken(register: Register, row: str) -> None:
    register(lines(row))
    assert [f"{number.value:f}" for number in published_table()] == [row.split(",")[5]]


def test_a_file_may_repeat_another_but_not_contradict_it(register: Register) -> None:
    register(lines(GOOD), lines(GOOD))
    assert len(published_table()) == 1
    _, second = register(lines(GOOD), lines(GOOD.replace("30.3", "30.4")))
    with pytest.raises(PluginError, match=r"is 30\.4 here and 30\.3 at .*numbers0\.csv: line 2") as raised:
        published_table()
    assert str(raised.value).startswith(f"{second}: line 2: ")


def test_a_comparison_loses_a_malformed_file_whole_and_warns_once(register: Register) -> None:
    [bad] = register(lines(GOOD, GOOD.replace("30.3", "much")), beside=(SHIPPED,))
    with pytest.warns(UserWarning, match=f"no published number of this file is used: {bad}: line 3: ") as warned:
        assert published_for("Mine", "SUN", "res101") is None
    assert len(warned) == 1
    with warnings.catch_warnings(action="error"):
        assert published_for("SP-AEN", "SUN", "res101") is not None
        assert {number.method for number in usable_numbers()} & {"Mine", "SP-AEN"} == {"SP-AEN"}


def test_a_comparison_gets_the_first_sources_numbers_as_fractions_of_the_proposed_split(register: Register) -> None:
    register(
        lines(
            "Mine,SUN,SS,ZSL,U->U,70.0,First",
            "Mine,SUN,Chao2016,GZSL,AUSUC,0.9,First",
            "Mine,CUB,PS,GZSL,H,50.0,First",
            "Mine,SUN,PS,reconstruction,pixel MSE unseen test,0.053,Pixels",
            "Mine,SUN,PS,GZSL,H,25.0,Second",
            "Mine,SUN,PS,GZSL,H,26.0,Third",
            "Mine,SUN,PS,GZSL,AUSUC,0.125,Second",
            "Mine,SUN,PS,ZSL,U->U,75.0,Third",
        )
    )
    unstated = "a backbone that is not stated"
    assert published_for("Mine", "SUN", "res101") == Published("Second", {"h": 0.25, "ausuc": 0.125}, unstated)
    assert published_for("Mine", "SUN", "bow512") is None
    assert published_for("Mine", "aPY", "res101") is None
    assert published_for("mine", "SUN", "res101") is None


NETWORKS = f"{HEAD},backbone,fine_tuned\n"


OTHER = "Mine,SUN,PS,GZSL,H,50.0,First,ViT-B,no\n"
TUNED = "Mine,SUN,PS,GZSL,H,40.0,First,ResNet-101,seen classes\n"
UNKNOWN = "Mine,SUN,PS,GZSL,H,41.0,Second,ResNet-101,unknown\n"
PLAIN = "Mine,SUN,PS,GZSL,H,30.0,Third,ResNet-101,no\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (OTHER + TUNED + UNKNOWN + PLAIN, Published("Third", {"h": 0.3}, "ResNet-101")),
        (OTHER + TUNED + UNKNOWN, Published("First", {"h": 0.4}, "ResNet-101 fine-tuned on seen classes")),
        (UNKNOWN + TUNED, Published("Second", {"h": 0.41}, "ResNet-101, fine-tuning unknown")),
        (OTHER, None),
    ],
)
def test_numbers_of_the_same_backbone_compare_and_those_of_one_that_was_not_fine_tuned_first(
    register: Register, content: str, expected: Published | None
) -> None:
    register(NETWORKS + content)
    assert published_for("Mine", "SUN", "res101") == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (NETWORKS + GOOD + ",ResNet-101,yes\n", "line 2: unknown fine_tuned 'yes'; known: no, seen classes, unknown"),
        (f"{HEAD},backbone,backbone\n{GOOD},a,b\n", "the column 'backbone' is there twice"),
    ],
)
def test_a_malformed_statement_of_the_backbone_is_one_line(register: Register, content: str, said: str) -> None:
    register(content)
    with pytest.raises(PluginError) as raised:
        published_table()
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_every_shipped_number_states_its_backbone_and_whether_it_was_fine_tuned() -> None:
    shipped = [number for number in published_table() if number.where.startswith(f"{SHIPPED}: ")]
    assert all(number.backbone and number.fine_tuned in ("no", "seen classes", "unknown") for number in shipped)
    assert {n.fine_tuned for n in shipped if n.method.endswith("*") and "SDGZSL" in n.source} == {"seen classes"}


def test_the_shipped_file_is_sound_and_says_nothing_twice() -> None:
    with SHIPPED.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = [number for number in published_table() if number.where.startswith(f"{SHIPPED}: ")]
    assert len(numbers) == len(rows)
    assert [f"{number.value:f}" for number in numbers] == [row["value"] for row in rows]
    assert {number.setting for number in numbers} == {"ZSL", "GZSL", "reconstruction"}


@pytest.mark.parametrize(
    ("method", "dataset", "printed"),  # U->U, U->T, S->T, H
    [
        ("SP-AEN", "SUN", "59.2 24.9 38.6 30.3"),
        ("SP-AEN", "CUB", "55.4 34.7 70.6 46.6"),
        ("SP-AEN", "AWA2", "58.5 23.3 90.9 37.1"),
        ("SP-AEN", "aPY", "24.1 13.7 63.4 22.6"),
        ("DAP", "CUB", "40.0 1.7 67.9 3.3"),
        ("DAP", "aPY", "33.8 4.8 78.3 9.0"),
        ("IAP", "AWA2", "35.9 0.9 87.6 1.8"),
        ("SSE", "CUB", "43.9 8.5 46.9 14.4"),
        ("CONSE", "SUN", "38.8 6.8 39.9 11.6"),
        ("CMT", "SUN", "39.9 8.1 21.8 11.8"),
        ("LATEM", "CUB", "49.3 15.2 57.3 24.0"),
        ("DeViSE", "SUN", "56.5 16.9 27.4 20.9"),
        ("DeViSE", "AWA2", "59.7 17.1 74.7 27.8"),
        ("ALE", "SUN", "58.1 21.8 33.1 26.3"),
        ("ALE", "CUB", "54.9 23.7 62.8 34.4"),
        ("SJE", "CUB", "53.9 23.5 59.2 33.6"),
        ("ESZSL", "SUN", "54.5 11.0 27.9 15.8"),
        ("ESZSL", "CUB", "53.9 12.6 63.8 21.0"),
        ("SYNC", "AWA2", "46.6 10.0 90.5 18.0"),
        ("SAE", "CUB", "33.3 7.8 54.0 13.6"),
    ],
)
def test_the_shipped_file_holds_what_table_1_of_spaen_prints(method: str, dataset: str, printed: str) -> None:
    source = "SP-AEN (Chen et al., CVPR 2018), Table 1"
    own = {
        number.metric: f"{number.value:f}"
        for number in published_table()
        if (number.method, number.dataset, number.source) == (method, dataset, source)
    }
    assert own == dict(zip(("U->U", "U->T", "S->T", "H"), printed.split(), strict=True))


@pytest.mark.parametrize(
    ("method", "printed"),
    [
        ("DAP", "44.1 0.0 88.7 0.0"),
        ("DeViSE", "54.2 13.4 68.7 22.4"),
        ("ALE", "59.9 16.8 76.1 27.5"),
        ("SJE", "65.6 11.3 74.6 19.6"),
        ("ESZSL", "58.2 6.6 75.6 12.1"),
        ("LATEM", "55.1 7.3 71.7 13.3"),
    ],
)
def test_the_shipped_file_holds_what_gbu_prints_for_awa1(method: str, printed: str) -> None:
    values = published_for(method, "AWA1", "res101")
    assert values is not None and values.source.startswith("Xian et al., CVPR 2017")
    expected = [float(value) / 100 for value in printed.split()]
    assert [values.values[name] for name in ("acc_uu", "acc_ut", "acc_st", "h")] == pytest.approx(expected)
