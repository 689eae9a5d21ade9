"""`published`: what papers printed, and which printed H cannot be right."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from importlib.resources import files
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from outside import Inside, command, distribution

import zslbench_methods
from zslbench.discovery.plugins import registry

TABLE_1 = "SP-AEN (Chen et al., CVPR 2018), Table 1"
TABLE_3 = "SP-AEN (Chen et al., CVPR 2018), Table 3"
PLUGIN = """
    from pathlib import Path
    def zslbench_register(registry):
        registry.published(Path(__file__).with_name("numbers.csv"))
    """
HEAD = "method,dataset,split,setting,metric,value,source\n"

Group = tuple[str, ...]


@pytest.fixture(scope="module")
def shipped() -> dict[Group, dict[str, str]]:
    """The shipped file, read without the code under test."""
    groups: dict[Group, dict[str, str]] = defaultdict(dict)
    about = itemgetter("method", "dataset", "split", "source", "backbone", "fine_tuned")
    with files(zslbench_methods).joinpath("published.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            groups[about(row)][row["metric"]] = row["value"]
    return groups


def about(group: dict[str, str]) -> Group:
    names = ("method", "dataset", "split", "source", "backbone", "fine_tuned")
    return tuple(group[name] for name in names)


def test_every_shipped_number_is_shown_once(inside: Inside, shipped: dict[Group, dict[str, str]]) -> None:
    groups = json.loads(inside("published", "--json").out)
    found = {about(group): group["values"] for group in groups}
    assert len(groups) == len(found)
    assert found == {key: {m: float(v) for m, v in values.items()} for key, values in shipped.items()}


def test_lines_are_sorted_by_method_data_set_and_source(inside: Inside) -> None:
    groups = json.loads(inside("published", "--json").out)
    order = [(g["method"].lower(), g["dataset"].lower(), g["source"].lower()) for g in groups]
    assert order == sorted(order)


def test_a_line_has_the_numbers_as_printed_and_the_source(inside: Inside) -> None:
    lines = inside("published", "--method", "spaen", "--dataset", "cub", "--plain").out.splitlines()
    names = ["method", "data", "set", "split", "backbone", "U->U", "U->T", "S->T", "H", "AUSUC", "source"]
    assert lines[1].split() == names
    assert lines[3].split() == ["SP-AEN", "CUB", "PS", "ResNet-101", "55.4", "34.7", "70.6", "46.6", "[1]"]
    assert lines[6].split() == ["SP-AEN", "CUB", "PS", "ResNet-101", "pixel", "MSE", "unseen", "test", "0.040", "[2]"]
    assert lines[7:] == [f"[1] {TABLE_1}", f"[2] {TABLE_3}"]


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("--method", ["spaen", "SPAEN", "SP-AEN", "sp-aen", "spaen-image", "SP-AEN (images)"]),
        ("--method", ["SYNC-ovo", "sync-OVO"]),  # printed, and no registered method
        ("--dataset", ["awa1", "AWA1"]),
        ("-d", ["AWA(as printed)", "awa(as printed)"]),
    ],
)
def test_a_name_and_a_title_in_any_case_mean_the_same(inside: Inside, option: str, names: list[str]) -> None:
    answers = [inside("published", option, name, "--json").out for name in names]
    assert len(set(answers)) == 1
    assert json.loads(answers[0])


def test_several_methods_and_data_sets_are_all_shown_and_no_other(inside: Inside) -> None:
    asked = ["-m", "eszsl", "-m", "LATEM", "-d", "sun", "-d", "aPY"]
    groups = json.loads(inside("published", *asked, "--json").out)
    assert {(g["method"], g["dataset"]) for g in groups} == {
        (method, dataset) for method in ("ESZSL", "LATEM") for dataset in ("SUN", "aPY")
    }


def test_nothing_printed_for_a_method_on_a_data_set_is_said(inside: Inside) -> None:
    answer = inside("published", "-m", "spaen", "-d", "flo")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "no published number of these methods on these data sets\n"
    assert json.loads(inside("published", "-m", "spaen", "-d", "flo", "--json").out) == []
    assert inside("published", "-d", "digits").status == 0  # registered, and in no paper


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "spean"], ["unknown method 'spean'", "did you mean", "'spaen'"]),
        (["--method", "LATTEM"], ["unknown method 'LATTEM'; did you mean 'latem'?"]),
        (["--dataset", "AWA3"], ["unknown data set 'AWA3'", "did you mean", "'awa1'"]),
        (["--dataset", "xyzzy"], ["unknown data set 'xyzzy'", "known: ", "AWA(as printed)"]),
    ],
)
def test_an_unknown_name_is_one_line_and_status_2(inside: Inside, arguments: list[str], said: list[str]) -> None:
    answer = inside("published", *arguments)
    assert answer.status == 2
    for words in said:
        assert words in answer.error()


def test_each_line_says_on_what_its_numbers_were_made(inside: Inside) -> None:
    answer = inside("published", "-m", "SDGZSL", "-m", "SDGZSL*", "-m", "ZeroDINO", "-m", "GenZSL", "-d", "cub")
    backbones = {line[:10].strip(): line for line in answer.out.splitlines()}
    assert "ResNet-101  " in backbones["SDGZSL"] and "ResNet-101 ft  " in backbones["SDGZSL*"]
    assert "CLIP ViT-B/16  " in backbones["GenZSL"] and "DINOv2 ViT-B/14 ?  " in backbones["ZeroDINO"]
    assert "ft: fine-tuned on seen classes; ?: whether it was is unknown" in answer.out
    assert "ft: " not in inside("published", "-m", "spaen").out  # all the same: nothing to tell apart


def test_the_numbers_of_other_backbones_are_those_that_their_sources_print(
    shipped: dict[Group, dict[str, str]],
) -> None:
    own = {
        (method, dataset, backbone, tuned): " ".join(values[name] for name in ("U->U", "U->T", "S->T", "H"))
        for (method, dataset, _, source, backbone, tuned), values in shipped.items()
        if source.endswith("repository")
    }
    assert len(own) == 12  # four methods on three data sets
    assert own["ZeroDiff", "CUB", "ResNet-101", "seen classes"] == "87.5 80.0 83.2 81.6"
    assert own["GenZSL", "AWA2", "CLIP ViT-B/16", "no"] == "92.2 86.1 88.7 87.4"
    assert own["ZSLViT", "SUN", "ViT-B", "seen classes"] == "68.3 45.9 48.4 47.3"
    assert own["ZeroDINO", "AWA2", "DINOv2 ViT-B/14", "unknown"] == "67.5 64.5 87.9 74.4"


def impossible(values: dict[str, str]) -> bool:
    """Searches a fine grid of what U->T and S->T may have been before they were rounded to one decimal."""
    if not {"U->T", "S->T", "H"} <= values.keys():
        return False
    steps = np.linspace(-0.05, 0.05, 41)
    u, s = np.meshgrid(float(values["U->T"]) + steps, float(values["S->T"]) + steps)
    u, s = np.maximum(u, 1e-12), np.maximum(s, 1e-12)
    return bool(np.abs(2 * u * s / (u + s) - float(values["H"])).min() > 0.05 + 1e-6)


def test_the_lint_finds_every_h_that_no_rounding_explains(inside: Inside, shipped: dict[Group, dict[str, str]]) -> None:
    answer = inside("published", "--lint", "--json")
    assert answer.status == 0  # papers contradict themselves; the command did not fail
    found = {about(group) for group in json.loads(answer.out)}
    assert found == {key for key, values in shipped.items() if impossible(values)}
    assert (
        "AGZSL*",
        "AWA2",
        "PS",
        "Chen et al., ICCV 2021 (SDGZSL), results table quoting originals",
        "ResNet-101",
        "seen classes",
    ) in found


def test_the_lint_shows_printed_h_implied_range_and_difference(inside: Inside) -> None:
    lines = inside("published", "--lint", "--method", "AGZSL*", "--plain").out.splitlines()
    # 2 x 52.55 x 86.45 / 139.00 = 65.37 and 2 x 52.65 x 86.55 / 139.20 = 65.47; 76.8 - 65.5 = 11.3
    assert lines[2].split() == [
        "AGZSL*",
        "AWA2",
        "PS",
        "ResNet-101",
        "ft",
        "52.6",
        "86.5",
        "76.8",
        "65.4",
        "to",
        "65.5",
        "+11.3",
        "[1]",
    ]
    assert lines[-1].startswith("1 of 4 printed H cannot be 2US/(U+S)")


def test_a_lint_without_finding_says_how_many_were_looked_at(inside: Inside) -> None:
    answer = inside("published", "--lint", "--method", "spaen")
    assert answer.out == "0 of 4 printed H cannot be 2US/(U+S), however U->T and S->T were rounded\n"


def test_the_view_marks_what_the_lint_finds_and_counts_it(inside: Inside) -> None:
    *lines, last = inside("published", "--method", "agzsl*", "--plain").out.splitlines()
    marked = [line.split() for line in lines if "!" in line]
    assert [(line[1], line[8]) for line in marked] == [("AWA2", "76.8!")]
    assert last.startswith("! 1 of 4 printed H") and "`zslbench published --lint`" in last
    assert "!" not in inside("published", "--method", "spaen").out


def test_a_plugins_numbers_join_the_shipped_ones(tmp_path: Path) -> None:
    distribution(tmp_path, "printed-numbers", PLUGIN)
    (tmp_path / "numbers.csv").write_text(HEAD + "Mine,SUN,PS,ZSL,U->U,61.50,Mine et al.\n")
    answer = command("published", "-m", "mine", "-m", "spaen", "-d", "sun", path=tmp_path)
    assert (answer.status, answer.err) == (0, "")
    rows = [line.split() for line in answer.out.splitlines()]
    assert ["Mine", "SUN", "PS", "not", "stated", "61.50", "[1]"] in rows
    assert ["SP-AEN", "SUN", "PS", "ResNet-101", "59.2", "24.9", "38.6", "30.3", "[2]"] in rows


def test_a_plugins_malformed_file_costs_one_line_and_the_shipped_numbers_nothing(tmp_path: Path) -> None:
    distribution(tmp_path, "printed-numbers", PLUGIN)
    (tmp_path / "numbers.csv").write_text(HEAD + "Mine,SUN,PS,ZSL,U->U,615,Mine et al.\n")
    answer = command("published", "-m", "spaen", "-d", "sun", path=tmp_path)
    assert answer.status == 0
    [line] = answer.err.splitlines()
    assert f"{tmp_path / 'numbers.csv'}: line 2: U->U 615 is outside 0 to 100" in line
    assert "59.2" in answer.out


def test_doctor_counts_the_numbers_and_fails_on_a_malformed_file(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "numbers.csv"
    monkeypatch.setattr(registry(), "published_files", [path])
    path.write_text(HEAD + "A,SUN,PS,ZSL,U->U,1.0,S\nA,SUN,PS,GZSL,H,1.0,S\nA,SUN,PS,GZSL,H,1.0,T\n")
    assert "ok   published numbers: 3 from 2 sources" in inside("doctor").out.splitlines()
    path.write_text(HEAD + "A,SUN,PS,ZSL,U->U,one,S\n")
    answer = inside("doctor")
    assert answer.status == 1
    assert f"FAIL published numbers: {path}: line 2: the value 'one' is not a number" in answer.out
