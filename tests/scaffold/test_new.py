"""`zslbench new`: what it writes can be installed, passes its own tests, and runs."""

from __future__ import annotations

import ast
import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from outside import Inside, command
from pages import environment

import zslbench
from zslbench.scaffold.new import bounds, create

KINDS = ["method", "dataset", "evaluator"]
USES = {
    "method": ("run", "my-own", "--dataset", "digits"),
    "dataset": ("run", "sae", "--dataset", "my-own"),
    "evaluator": ("run", "eszsl", "--dataset", "digits"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_is_installed_passes_its_tests_and_runs(
    kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    variables = environment(tmp_path_factory.mktemp("environment"))

    def shell(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "pip install -e zslbench-my-own" in shell("zslbench", "new", kind, "my-own")
    shell("pip", "install", "-e", "zslbench-my-own")
    tests = shell("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "zslbench-my-own")
    assert " failed" not in tests
    [run] = json.loads(shell("zslbench", *USES[kind], "--json"))["runs"]
    chance = 1 / 3 if kind == "method" else 1 / 4
    if kind == "evaluator":
        assert 0 < run["metrics"]["my_own"] < 1
    else:
        assert run["metrics"]["acc_uu"] > chance


def test_the_method_is_forty_five_lines_at_most(tmp_path: Path) -> None:
    lines = (create("method", "my-own", tmp_path) / "zslbench_my_own" / "method.py").read_text().splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a", "3d", "3", "class", "none", "embedder", "gradient", "metric", "my-long-name-2"])
def test_any_valid_name_gives_valid_python_and_toml(kind: str, name: str, tmp_path: Path) -> None:
    folder = create(kind, name, tmp_path)  # type: ignore[arg-type]
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        assert not defined & set(zslbench.__all__)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"zslbench-{name}"
    [target] = project["entry-points"]["zslbench"].values()
    assert (folder / target / "__init__.py").is_file()
    assert not [path for path in folder.rglob("*") if path.is_file() and "$" in path.read_text().replace("${{", "")]


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path, inside: Inside) -> None:
    own = tmp_path / "zslbench-mine" / "README.md"
    own.parent.mkdir()
    own.write_text("mine")
    answer = inside("new", "method", "mine", "--into", tmp_path)
    assert answer.status == 2
    assert answer.error() == (f"{own.parent} exists already, and is not overwritten; remove it, or choose another name")
    assert [path.name for path in tmp_path.rglob("*")] == ["zslbench-mine", "README.md"]
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("method", "sae"), "the method name 'sae' is taken by plugin 'zslbench:methods'; choose another"),
        (("dataset", "digits"), "the data set name 'digits' is taken by plugin 'zslbench:datasets'; choose another"),
        (("method", "My_Method"), "method name 'My_Method' is not lower-case letters, digits and single hyphens"),
        (("evaluator", "a--b"), "evaluator name 'a--b' is not lower-case letters, digits and single hyphens"),
        (("method", "../escape"), "method name '../escape' is not lower-case letters, digits and single hyphens"),
        (("method", "mine", "--into", "nowhere"), "--into nowhere: that is no folder"),
        (("method", "a" * 300), f"method name '{'a' * 20}'... has 300 characters; 60 are the most"),
    ],
)
def test_a_name_that_cannot_be_is_one_line(arguments: tuple[str, ...], problem: str, inside: Inside) -> None:
    answer = inside("new", *arguments)
    assert answer.status == 2
    assert answer.error() == problem


def test_the_package_of_an_installed_plugin_is_not_shadowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: Inside
) -> None:
    (tmp_path / "zslbench_theirs.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    answer = inside("new", "method", "theirs", "--into", tmp_path)
    assert answer.status == 2
    assert answer.error() == "a package 'zslbench_theirs' is installed already; choose another name"


def test_the_next_command_works_for_a_folder_with_blanks(tmp_path: Path, inside: Inside) -> None:
    into = tmp_path / "my plugins"
    into.mkdir()
    answer = inside("new", "method", "mine", "--into", into)
    assert f"  pip install -e '{into / 'zslbench-mine'}'" in answer.out.splitlines()


def test_an_unknown_kind_names_the_kinds_there_are() -> None:
    answer = command("new", "backbone", "mine")
    assert answer.status == 2
    assert "'method', 'dataset', 'evaluator'" in answer.error()


@pytest.mark.parametrize(
    ("version", "expected"), [("0.1.0", ">=0.1,<0.2"), ("0.12.3", ">=0.12,<0.13"), ("1.4.2", ">=1,<2")]
)
def test_a_plugin_asks_for_the_versions_with_the_same_interfaces(version: str, expected: str) -> None:
    assert bounds(version) == expected
