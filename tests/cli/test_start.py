"""What must be quick stays light: help and lists import neither torch nor pandas."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from outside import BUILT_IN, ON_IMAGES, Inside, command

WATCH = """
import sys
sys.argv = ["zslbench", *sys.argv[1:]]
from zslbench.cli import main
try:
    main()
finally:
    heavy = {"torch", "pandas", "numpy", "scipy", "sklearn"} & set(sys.modules)
    print("imported:", *sorted(heavy), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["describe", "--help"],
        ["list", "methods"],
        ["list", "plugins"],
        ["published"],
        ["runs", "--help"],
    ],
)
def test_help_and_lists_import_nothing_heavy(arguments: list[str]) -> None:
    answer = subprocess.run([sys.executable, "-c", WATCH, *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0
    assert answer.stdout
    assert answer.stderr == "imported:\n"


def test_the_watch_above_sees_a_heavy_import() -> None:
    answer = subprocess.run([sys.executable, "-c", WATCH, "show", "x"], capture_output=True, text=True, check=False)
    assert "pandas" in answer.stderr
    assert "torch" in answer.stderr


def test_help_names_every_command() -> None:
    answer = command("--help")
    assert answer.status == 0
    for name in ("run", "compare", "evaluate", "show", "published", "list", "describe", "data", "doctor"):
        assert f"│ {name} " in answer.out


def test_the_version_is_that_of_the_distribution() -> None:
    answer = command("--version")
    assert (answer.status, answer.out, answer.err) == (0, f"zslbench {version('zslbench')}\n", "")


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", BUILT_IN + ON_IMAGES),
        ("datasets", ["sun", "cub", "awa1", "awa2", "apy", "flo", "digits"]),
        ("evaluators", ["zsl", "gzsl", "ausuc", "calibrated"]),
        ("engines", ["inline", "processes", "ray", "slurm"]),
        ("plugins", ["zslbench:core", "zslbench:datasets", "zslbench:methods"]),
    ],
)
def test_list_shows_what_is_built_in(inside: Inside, what: str, names: list[str]) -> None:
    answer = inside("list", what)
    assert answer.status == 0
    shown = [line.split()[0] for line in answer.out.splitlines()[1:] if not line.startswith(" ")]
    assert shown[: len(names)] == names


def test_the_list_of_methods_says_what_each_works_on(inside: Inside) -> None:
    listed = {method["name"]: method["input"] for method in json.loads(inside("list", "methods", "--json").out)}
    assert (listed["sae"], listed["spaen"], listed["directmap"]) == ("features", "features", "images")
