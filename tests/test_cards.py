"""Cards and presets: read from TOML, checked, and valid for every built-in method."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

import zslbench_methods
from zslbench.api.cards import SCALES, SCALINGS, MethodCard, Preset, Setting, Variant
from zslbench.discovery.plugins import registry
from zslbench.errors import PluginError, UsageError
from zslbench.runs.resolve import method_class

METHODS = registry().names("method")
PRESETS = [(name, preset) for name in METHODS for preset in registry().entry("method", name).card.presets]

CARD = """
title = "Mine"
paper = "Me, 2020"
setting = "semantic-transductive"

[presets.mine]
source = "Table 2"
params = { alpha = 1.0, scale = "l2" }

[presets.mine.datasets]
cub = { alpha = 2.0 }
sun = { scale = "zscore", semantics_scale = "whiten" }

[presets.theirs]
source = "their code"

[presets.theirs.datasets]
cub = { alpha = 3.0 }

[exhibits.table-2]
caption = "Ablation."
kind = "table"
methods = ["mine:alpha=0", "mine"]
metrics = ["h"]
names = { "mine:alpha=0" = "Mine (half)" }
source = "Me, 2020"

[exhibits.figure-1]
caption = "Attributes."
kind = "attributes"
"""
VARIANTS = """
[ablations.half]
title = "Mine (half)"
params = { alpha = 0.5, deep = false }
question = "Does all of it matter?"

[controls.noise]
title = "noise"
params = { target = "noise" }
question = "Does it matter what it is?"

[exhibits.table-3]
caption = "Why."
kind = "table"
variants = true
metrics = ["h"]
"""
EXHIBIT = 'title = "Mine"\npaper = "Me"\n[exhibits.figure-1]\ncaption = "x"\n'


def read(tmp_path: Path, text: str) -> MethodCard:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return MethodCard.read(path)


def test_a_card_is_read_with_its_presets(tmp_path: Path) -> None:
    card = read(tmp_path, CARD)
    assert (card.title, card.paper, card.setting) == ("Mine", "Me, 2020", "semantic-transductive")
    assert list(card.presets) == ["mine", "theirs"]
    assert card.preset("mine").source == "Table 2"


def test_a_card_is_read_with_its_exhibits_in_their_order(tmp_path: Path) -> None:
    exhibits = read(tmp_path, CARD).exhibits
    assert list(exhibits) == ["table-2", "figure-1"]
    table = exhibits["table-2"]
    assert (table.methods, table.metrics) == (("mine:alpha=0", "mine"), ("h",))
    assert (table.names, table.source) == ({"mine:alpha=0": "Mine (half)"}, "Me, 2020")
    assert exhibits["figure-1"].methods == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "pie"', "exhibit 'figure-1': kind 'pie' is none of"),
        ('kind = "curves"', "it needs methods"),
        ('kind = "attributes"\nmethods = ["a"]', "it needs methods, unless it is of attributes"),
        ('kind = "table"\nmethods = ["a"]', "a table needs them"),
        ('kind = "curves"\nmethods = ["a"]\nmetrics = ["h"]', "metrics are for a table"),
        ('kind = "curves"\nmethods = ["a"]\nnames = { b = "B" }', "it names 'b', which is none of its methods"),
        ('kind = "attributes"\ncolour = "red"', "colour"),
        ('kind = "attributes"\n[exhibits."../x"]\ncaption = "x"\nkind = "attributes"', "exhibit name '../x' is not"),
    ],
)
def test_an_exhibit_that_contradicts_itself_is_one_line_that_names_the_file(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(PluginError) as error:
        read(tmp_path, EXHIBIT + text)
    assert str(error.value).startswith(str(tmp_path / "mine.toml")) and "\n" not in str(error.value)
    assert said in str(error.value)


def test_a_card_is_read_with_its_ablations_and_controls(tmp_path: Path) -> None:
    card = read(tmp_path, CARD + VARIANTS)
    assert card.ablations == {"half": Variant("Mine (half)", {"alpha": 0.5, "deep": False}, "Does all of it matter?")}
    assert card.controls == {"noise": Variant("noise", {"target": "noise"}, "Does it matter what it is?")}
    assert list(card.variants("mine")) == ["mine:alpha=0.5,deep=false", "mine:target=noise"]
    shown = card.exhibits_of("mine")
    assert shown["table-3"].methods == ("mine:alpha=0.5,deep=false", "mine", "mine:target=noise")
    assert shown["table-2"] == card.exhibits["table-2"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[ablations.half]", "[ablations.Half]", "ablation name 'Half' is not lower-case letters"),
        ("[controls.noise]", '[controls."a b"]', "control name 'a b' is not"),
        ('title = "noise"', 'title = ""', "control 'noise': it needs a title, and params"),
        ("{ alpha = 0.5, deep = false }", "{}", "ablation 'half': it needs a title, and params"),
        ('"noise" }', "[1, 2] }", "control 'noise': target=[1, 2]: give a number, true, false, or a text"),
        ('"noise" }', '"a,b" }', "control 'noise': target='a,b': give a number"),
        ("what it is?", "what it is.", "is not one line that ends with a question mark"),
        ("{ alpha = 0.5, deep = false }", '{ target = "noise" }', "two of its ablations and controls have the same"),
        ("variants = true", 'variants = true\nmethods = ["mine"]', "exhibit 'table-3' shows variants"),
        ('kind = "table"\nvariants', 'kind = "attributes"\nvariants', "it needs methods, unless it is of attributes"),
        ('title = "noise"', 'title = "noise"\ncolour = "red"', "not a method card: "),
        ('title = "noise"', "title = 3", "not a method card: "),
        ('params = { target = "noise" }', "params = 3", "not a method card: "),
        ('question = "Does all of it matter?"', "", "not a method card: "),
    ],
)
def test_a_wrong_ablation_or_control_is_one_line_that_names_the_file(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert VARIANTS.count(old) == 1
    with pytest.raises(PluginError) as error:
        read(tmp_path, CARD + VARIANTS.replace(old, new))
    assert str(error.value).startswith(str(tmp_path / "mine.toml")) and "\n" not in str(error.value)
    assert said in str(error.value)


def test_an_exhibit_of_variants_needs_some(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="exhibit 'table-3' shows variants; declare ablations or controls"):
        read(tmp_path, CARD + VARIANTS[VARIANTS.index("[exhibits") :])


def test_values_for_one_data_set_win_over_those_for_all(tmp_path: Path) -> None:
    preset = read(tmp_path, CARD).preset("mine")
    assert preset.resolve("cub", "res101") == ({"alpha": 2.0}, {"scale": "l2"})
    assert preset.resolve("sun", "res101") == ({"alpha": 1.0}, {"scale": "zscore", "semantics_scale": "whiten"})
    assert preset.resolve("awa1", "res101") == ({"alpha": 1.0}, {"scale": "l2"})
    assert preset.resolve("cub", "res101") == ({"alpha": 2.0}, {"scale": "l2"})  # resolving takes nothing out of it


def test_a_preset_for_certain_data_sets_refuses_the_others(tmp_path: Path) -> None:
    preset = read(tmp_path, CARD).preset("theirs")
    assert preset.resolve("cub", "res101") == ({"alpha": 3.0}, {})
    with pytest.raises(UsageError, match="no values for data set 'awa1', only for cub"):
        preset.resolve("awa1", "res101")


def test_an_unknown_preset_suggests_near_misses(tmp_path: Path) -> None:
    card = read(tmp_path, CARD)
    with pytest.raises(UsageError, match="Mine has no preset 'mines'; did you mean 'mine'"):
        card.preset("mines")
    with pytest.raises(UsageError, match="it has no presets"):
        MethodCard(title="Bare", paper="").preset("mine")


@pytest.mark.parametrize(
    "text",
    [
        "title = ",
        'title = "Mine"',  # no paper
        'title = "Mine"\npaper = "Me"\ncolour = "red"',
        'title = "Mine"\npaper = "Me"\n[presets.mine]\nparams = {}',  # no source
        'title = "Mine"\npaper = "Me"\n[presets.mine]\nsource = "x"\nvalues = {}',
        'title = "Mine"\npaper = "Me"\n[presets]\nmine = 3',
    ],
)
def test_a_malformed_card_is_one_line_that_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(PluginError, match=r"mine\.toml: not a method card: ") as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_of_the_built_in_methods_hold_valid_values_and_say_where_they_are_from(name: str, preset: str) -> None:
    found: Preset = registry().entry("method", name).card.presets[preset]
    assert found.source
    method = method_class(name)
    elsewhere = ["digits"] if found.params else []
    folders = {"cub50"}  # a data set that is no built-in, run by its path
    assert set(found.datasets) <= set(registry().names("dataset")) | folders
    for dataset in [*found.datasets, *elsewhere]:
        values, scaling = found.resolve(dataset, found.features or "res101")
        params = method.params_type.parse(values, name)
        assert {key: getattr(params, key) for key in values} == values
        assert all(value in SCALINGS[name] for name, value in scaling.items())


@pytest.mark.parametrize("name", METHODS)
def test_cards_of_the_built_in_methods_name_paper_and_setting(name: str) -> None:
    card = registry().entry("method", name).card
    assert card.title and card.summary and card.url.startswith("https://")
    assert any(str(year) in card.paper for year in range(2009, 2031))
    assert card.setting in get_args(Setting)
    assert method_class(name).scale in SCALES


def test_every_method_file_of_papers_is_a_registered_card() -> None:
    files = {path.stem for path in (Path(zslbench_methods.__file__).parent / "papers").glob("*.toml")}
    assert files == set(zslbench_methods.METHODS)


def test_a_setting_that_does_not_exist_is_refused_with_the_ones_that_do() -> None:
    with pytest.raises(PluginError, match=r"'indutive' is none of .*'inductive'"):
        MethodCard(title="x", paper="y", setting="indutive")  # type: ignore[arg-type]


def test_an_input_that_does_not_exist_is_refused_with_the_ones_that_do() -> None:
    with pytest.raises(PluginError, match=r"input 'sounds' is none of .*'images'"):
        MethodCard(title="x", paper="y", input="sounds")  # type: ignore[arg-type]


def test_a_card_whose_presets_are_no_tables_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text('title = "x"\npaper = "y"\npresets = 5\n')
    with pytest.raises(PluginError) as error:
        MethodCard.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_preset_for_certain_features_refuses_others() -> None:
    preset = Preset(source="here", params={"alpha": 1.0}, features="bow512")
    assert preset.resolve("awa1", "bow512") == ({"alpha": 1.0}, {})
    with pytest.raises(UsageError, match="for features bow512, not for res101"):
        preset.resolve("awa1", "res101")
