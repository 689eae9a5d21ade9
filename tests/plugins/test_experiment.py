"""A method that is a single file outside any package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from outside import CHEAP, command

METHOD = '''
"""A test's method."""

import torch

from zslbench import Embedder, Params, param


class RidgeParams(Params):
    lam: float = param(1.0, "weight of the penalty", search=(0.1, 10.0), log=True, gt=0)


class _Hidden(Embedder[RidgeParams]):
    """Extended by the method, and none itself."""


class Ridge(_Hidden):
    """Ridge regression from features to class embeddings."""

    scale = "zscore"

    def build(self, shape):
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

    def embed(self, x):
        return x @ self.W

    def solve(self, view):
        gram = view.x.T @ view.x + self.params.lam * len(view.x) * torch.eye(view.shape.features)
        self.W.copy_(torch.linalg.solve(gram, view.x.T @ view.semantics[view.y]))
'''
CARD = """
from zslbench import MethodCard


def zslbench_register(registry):
    card = MethodCard(title="Mine", paper="none", setting="semantic-transductive")
    registry.method("other-name", "ridge_file:Ridge", card)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ridge_file.py"
    path.write_text(METHOD)
    return path


def run_of(answer) -> dict:  # type: ignore[type-arg, no-untyped-def]
    assert answer.status == 0, answer.err
    [run] = json.loads(answer.out)["runs"]
    return run  # type: ignore[no-any-return]


def test_it_runs_under_the_name_of_its_file_and_learns(file: Path) -> None:
    run = run_of(command("run", file, *CHEAP, "--json"))
    assert run["spec"]["method"] == "ridge-file"
    assert run["provenance"]["method_plugin"] == str(file)
    chance = 1 / 3  # three unseen digits
    assert run["metrics"]["acc_uu"] > 1.2 * chance


def test_it_stands_beside_installed_methods_with_parameters_presets_and_jobs(file: Path) -> None:
    answer = command("compare", f"{file}:lam=0.5", "eszsl", *CHEAP, "--jobs", "2", "--json")
    methods = [row["method"] for row in json.loads(answer.out)["summary"]]
    assert methods == [f"{file}:lam=0.5", "eszsl"]
    assert json.loads(answer.out)["runs"][0]["params"] == {"lam": 0.5}


def test_an_edited_file_never_meets_the_results_of_an_earlier_state_of_it(file: Path) -> None:
    first = run_of(command("run", file, *CHEAP, "--json"))
    again = run_of(command("run", file, *CHEAP, "--json"))
    file.write_text(METHOD.replace("self.params.lam * len(view.x)", "1000 * self.params.lam * len(view.x)"))
    edited = run_of(command("run", file, *CHEAP, "--json"))
    assert again == first
    assert edited["id"] != first["id"]
    assert edited["metrics"] != first["metrics"]


def test_a_search_of_an_edited_file_is_another_search(file: Path) -> None:
    tune = ("tune", file, "--dataset", "digits", "--folds", "1", "--trials", "2", "--json")
    [first] = json.loads(command(*tune).out)
    file.write_text(METHOD + "# edited\n")
    [second] = json.loads(command(*tune).out)
    assert second["id"] != first["id"]


def test_a_file_may_bring_its_own_card(file: Path) -> None:
    file.write_text(METHOD + CARD)
    spec = run_of(command("run", file, *CHEAP, "--json"))["spec"]
    assert (spec["method"], spec["setting"]) == ("other-name", "semantic-transductive")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = = 1", "SyntaxError: invalid syntax (ridge_file.py, line 1)"),
        ("\nimport a_package_that_is_not_there", "line 2: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "line 1: SystemExit: 3"),
        ("x = 1", "one class that extends Embedder is needed; found none"),
        (METHOD + "\nclass Second(Embedder): pass", "one class that extends Embedder is needed; found Ridge, Second"),
        (METHOD + CARD.replace("other-name", "sae"), "the method name 'sae' is taken by plugin 'zslbench:methods'"),
        (METHOD + "\ndef zslbench_register(registry): pass", "it registers 0 methods; one is needed"),
        (METHOD + CARD.replace("ridge_file:Ridge", "ridge_file:Absent"), "cannot be loaded from ridge_file:Absent"),
    ],
)
def test_a_file_that_is_no_method_is_one_line(file: Path, source: str, problem: str) -> None:
    file.write_text(source)
    answer = command("run", file, *CHEAP)
    assert answer.status == 1
    assert str(file) in answer.error()
    assert problem in answer.error()


def test_its_path_may_have_any_character(file: Path) -> None:
    odd = file.parent / "a:b@c" / file.name
    odd.parent.mkdir()
    file.rename(odd)
    assert run_of(command("run", odd, *CHEAP, "--json"))["spec"]["method"] == "ridge-file"


def test_a_name_that_no_command_could_use_is_to_be_changed(file: Path) -> None:
    odd = file.with_name("my method.py")
    file.rename(odd)
    error = command("run", odd, *CHEAP).error()
    assert error == f"{odd}: rename the file: lower-case letters, digits and single underscores, then .py"


def test_a_scaling_that_does_not_exist_is_one_line(file: Path) -> None:
    file.write_text(METHOD.replace("zscore", "zscroe"))
    answer = command("run", file, *CHEAP)
    assert answer.status == 1
    assert answer.error() == "method 'ridge-file': scale is 'zscroe'; choose none, l2, zscore, minmax"


def test_a_file_that_is_not_there_is_a_wrong_command(tmp_path: Path) -> None:
    answer = command("run", tmp_path / "absent.py", *CHEAP)
    assert answer.status == 2
    assert answer.error() == f"method {tmp_path / 'absent.py'}: there is no such file"


def test_a_file_with_the_name_of_an_installed_module_is_to_be_renamed(tmp_path: Path) -> None:
    path = tmp_path / "json.py"
    path.write_text(METHOD)
    answer = command("run", path, *CHEAP)
    assert answer.status == 2
    assert answer.error().startswith(f"{path}: there is another module 'json' (")
    assert answer.error().endswith("; rename the file")
