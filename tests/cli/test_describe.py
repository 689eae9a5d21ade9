"""`describe`: all that there is to know about a name, for people at 80 columns and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from outside import BUILT_IN, ON_IMAGES, Inside, command, distribution

from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import KINDS

SAMPLE = '''
"""A test's method."""

from typing import Literal

import torch

from zslbench import Embedder, MethodCard, Params, Preset, Variant, param

WORDS = "what it weighs, said at such length that no terminal of eighty columns has room for it on a single line"


class SampleParams(Params):
    lam: float = param(0.5, WORDS, search=(0.1, 10.0), log=True, gt=0, le=100)
    rank: int = param(3, "how many", search=[1, 3, 5], ge=1)
    side: Literal["left", "right"] = param("left", "which")
    exact: bool = param(True, "whether")


class Sample(Embedder[SampleParams]):
    """One sentence about it."""

    scale = "zscore"
    scales = ("none", "zscore")
    semantics_scale = "l2"
    version = 4

    def build(self, shape):
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

    def embed(self, x):
        return x @ self.W

    def solve(self, view):
        pass
'''
CARD = """

def zslbench_register(registry):
    presets = {"tried": Preset("a note", {"lam": 2.0, "exact": False}, {"cub": {"rank": 5}}, features="vgg")}
    card = MethodCard(
        "Sample", "A. Author: A paper. 2020", url="https://example.org/paper", setting="transductive", presets=presets,
        ablations={"rough": Variant("roughly", {"exact": False, "rank": 1}, "Must it be exact?")},
        controls={"mirror": Variant("mirrored", {"side": "right"}, "Is it the side?")},
    )
    registry.method("sample", "sample_file:Sample", card)
"""


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sample_file.py"
    path.write_text(SAMPLE + CARD)
    return path


def test_a_method_shows_paper_setting_and_every_parameter(sample: Path) -> None:
    answer = command("describe", sample)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("method sample: Sample\n  paper    A. Author: A paper. 2020\n")
    text = " ".join(answer.out.split())
    for words in (
        "paper A. Author: A paper. 2020",
        "url https://example.org/paper",
        "setting transductive: training sees the unseen class embeddings and unlabelled test images",
        "input features; features are scaled by zscore (search none,zscore); class embeddings are scaled by l2",
        "method version 4",
        "lam 0.5 number > 0 and <= 100; search 0.1:10:log what it weighs, said at such length",
        "rank 3 whole number >= 1; search 1,3,5 how many",
        "side left left, right which",
        "exact true true or false whether",
        "tried a note (for features vgg only) lam=2.0 exact=false cub: rank=5",
        "ablations: the method without something rough roughly: `sample_file.py:exact=false,rank=1` Must it be exact?",
        "place of the cause mirror mirrored: `sample_file.py:side=right` Is it the side?",
    ):
        assert words in text


def test_a_file_without_a_card_is_described_by_its_docstring(sample: Path) -> None:
    sample.write_text(SAMPLE)
    lines = command("describe", "./sample_file.py").out.splitlines()
    assert lines[:2] == ["method sample-file: Sample", "  One sentence about it."]
    assert "hyper-parameters (`-p NAME=VALUE`, or `sample_file.py:NAME=VALUE,...`)" in lines


def test_json_has_the_same_as_values(sample: Path) -> None:
    [found] = json.loads(command("describe", sample, "--json").out)
    assert (found["kind"], found["name"], found["title"], found["setting"]) == (
        "method",
        "sample",
        "Sample",
        "transductive",
    )
    assert (found["scale"], found["scales"]) == ("zscore", ["none", "zscore"])
    lam, *_, exact = found["parameters"]
    assert (lam["default"], lam["valid"], lam["search"]) == (0.5, "number > 0 and <= 100", "0.1:10:log")
    assert (exact["default"], exact["search"]) == (True, None)
    assert found["controls"] == {
        "mirror": {"title": "mirrored", "params": {"side": "right"}, "question": "Is it the side?"}
    }
    assert found["presets"]["tried"] == {
        "source": "a note",
        "features": "vgg",
        "params": {"lam": 2.0, "exact": False},
        "datasets": {"cub": {"rank": 5}},
        "reduced": False,
    }


def test_a_method_shows_the_exhibits_and_the_printed_numbers_of_its_paper(inside: Inside) -> None:
    out = inside("describe", "spaen").out
    assert "  table-2   Classification alone (alpha = beta = 0) against the full objective\n" in out
    assert "published numbers (`zslbench published --method spaen` shows all)\n" in out
    # Table 1 of the SP-AEN paper
    assert "  CUB   U->U 55.4, U->T 34.7, S->T 70.6, H 46.6\n" in out
    assert out.endswith("  SP-AEN (Chen et al., CVPR 2018), Table 1; on ResNet-101\n")


def test_sources_are_numbered_where_there_are_several(inside: Inside) -> None:
    lines = inside("describe", "sae").out.splitlines()
    assert lines[-2:] == [
        "  [1] SP-AEN (Chen et al., CVPR 2018), Table 1; on ResNet-101",
        "  [2] Xian et al., TPAMI 2018 (GBU), quoted by DEM authors; on ResNet-101",
    ]
    assert "  AWA1  U->U 53.0, U->T 1.8, S->T 77.1, H 3.5 [2]" in lines


def test_a_data_set_shows_its_citation_sizes_and_where_to_get_it(inside: Inside, tmp_path: Path) -> None:
    text = " ".join(inside("describe", "sun", "--data-root", tmp_path).out.split())
    for words in (
        "citation G. Patterson, J. Hays: SUN Attribute Database. CVPR 2012",
        "homepage https://cs.brown.edu/~gmpatter/sunattributes.html",
        "licence images: research use",
        "classes 645 seen and 72 unseen",
        "images 14,340: 10,320 trainval, 2,580 test_seen, 1,440 test_unseen",
        "embeddings 102 attributes",
        "features res101",
        "get it with `zslbench data get sun`",
        "`zslbench published --dataset sun` shows all",
    ):
        assert words in text


def test_a_data_set_that_is_there_shows_its_folder(inside: Inside, make_xlsa17, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = make_xlsa17(name="SUN")
    [found] = json.loads(inside("describe", "sun", "--data-root", tmp_path, "--json").out)
    assert (found["missing"], found["path"], found["present_features"]) == ("", str(folder), ["res101"])
    text = " ".join(inside("describe", "sun", "--data-root", tmp_path).out.split())
    assert f" present {folder} " in text


def test_a_data_set_shows_its_options_with_their_defaults(inside: Inside) -> None:
    out = inside("describe", "shapes").out
    assert "options (`--dataset shapes:NAME=VALUE,...`)\n" in out
    assert "  semantic_loss     0.0      number >= 0 and <= 1\n" in out


def test_an_evaluator_shows_its_metrics(inside: Inside) -> None:
    lines = inside("describe", "calibrated").out.splitlines()
    assert "  needs   a fit without the validation classes" in lines
    assert "  h_cal       H cal, percent, higher is better" in lines
    [found] = json.loads(inside("describe", "reconstruction", "--json").out)
    assert found["needs_images"] and not found["needs_validation"]
    assert not any(metric["higher_is_better"] for metric in found["metrics"] if metric["name"].startswith("mse"))


@pytest.mark.parametrize(("name", "noun"), [("pixels", "backbone"), ("inline", "engine")])
def test_the_rest_shows_its_card_and_its_plugin(inside: Inside, name: str, noun: str) -> None:
    lines = inside("describe", name).out.splitlines()
    assert lines[0] == f"{noun} {name}"
    assert lines[-1].split() == ["plugin", "zslbench:core", "0.1.0"]


def test_a_title_will_do_and_the_notice_has_no_warning_before_it(inside: Inside) -> None:
    by_title, by_name = inside("describe", "SP-AEN"), inside("describe", "spaen")
    assert (by_title.out, by_title.err) == (by_name.out, "SP-AEN: taken as method spaen\n")


def test_a_name_of_two_kinds_is_shown_as_both(tmp_path: Path) -> None:
    source = """
    from zslbench import DatasetCard
    def zslbench_register(registry):
        registry.dataset("sae", "zslbench_datasets.digits:digits", DatasetCard("SAE data", "none", "none"))
    """
    distribution(tmp_path, "second", source)
    found = json.loads(command("describe", "sae", "--json", path=tmp_path).out)
    assert [(entry["kind"], entry["plugin"]) for entry in found] == [
        ("method", "zslbench:methods"),
        ("dataset", "second:plugin"),
    ]
    out = command("describe", "sae", path=tmp_path).out
    assert "\n\ndata set sae: SAE data\n" in out


@pytest.mark.parametrize(
    ("name", "suggested"), [("spean", "'spaen'"), ("SP-AEM", "'spaen'"), ("cubs", "'cub'"), ("ausucc", "'ausuc'")]
)
def test_an_unknown_name_is_one_line_with_near_misses(inside: Inside, name: str, suggested: str) -> None:
    answer = inside("describe", name)
    assert answer.status == 2
    assert answer.error().startswith(
        f"unknown method, data set, evaluator, backbone, text encoder, engine or layout {name!r}; did you mean "
    )
    assert suggested in answer.error()


def test_a_file_that_is_not_there_is_a_wrong_command(inside: Inside, tmp_path: Path) -> None:
    answer = inside("describe", tmp_path / "absent.py")
    assert (answer.status, answer.error()) == (2, f"method {tmp_path / 'absent.py'}: there is no such file")


def test_a_method_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    source = """
    from zslbench import MethodCard
    def zslbench_register(registry):
        registry.method("mine", "nowhere:Mine", MethodCard("Mine", "none"))
    """
    answer = command("describe", "mine", path=distribution(tmp_path, "broken", source))
    assert answer.status == 1
    assert "method 'mine' of plugin 'broken:plugin' cannot be loaded from nowhere:Mine" in answer.error()


@pytest.mark.parametrize("name", [entry.name for kind in KINDS for entry in registry().entries(kind)])
def test_lines_fit_80_columns_and_break_between_words(inside: Inside, name: str) -> None:
    answer = inside("describe", name)
    assert (answer.status, answer.err) == (0, "")
    assert "\x1b" not in answer.out
    long = [line for line in answer.out.splitlines() if len(line) > 80]
    assert all(len(line.split()) == 1 for line in long), long  # an address or a path
    card = registry().find(name)[0].card
    for text in (card.summary, getattr(card, "paper", "")):
        assert text.strip() in " ".join(answer.out.split())


def test_every_built_in_method_shows_each_parameter_once(inside: Inside) -> None:
    for name in BUILT_IN + ON_IMAGES:
        [found] = json.loads(inside("describe", name, "--json").out)
        lines = inside("describe", name).out.splitlines()
        for parameter in found["parameters"]:
            assert parameter["help"] and parameter["valid"]
            default = str(parameter["default"])
            default = default.lower() if isinstance(parameter["default"], bool) else default
            assert sum(line.split()[:2] == [parameter["name"], default] for line in lines) == 1
