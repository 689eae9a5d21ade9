"""A stored run of a method that was edited since, its version being the same, is not passed over in silence."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
from outside import CHEAP, command, distribution

from zslbench.runs.provenance import method_code

METHOD = '''
    """Mine."""

    import torch

    from zslbench import Embedder, MethodCard, Params


    class Mine(Embedder[Params]):
        """A linear map found by least squares."""

        def build(self, shape):
            self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

        def embed(self, x):
            return x @ self.W

        def solve(self, view):
            self.W.copy_(torch.linalg.lstsq(view.x, view.semantics[view.y]).solution)


    def zslbench_register(registry):
        registry.method("mine", "mine:Mine", MethodCard("Mine", "none"))
    '''


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return distribution(tmp_path, "mine", METHOD)


def warnings_after(site: Path, old: str, new: str) -> list[str]:
    """Runs, edits the method, runs again; returns the warnings of the second command."""
    assert command("run", "mine", *CHEAP, path=site).status == 0
    path = site / "mine.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    answer = command("run", "mine", *CHEAP, path=site)
    assert answer.status == 0
    assert "1 of 1 runs were stored already" in answer.err
    return [line for line in answer.err.splitlines() if line.startswith("warning: ")]


def test_changed_code_is_named_with_what_to_do(site: Path) -> None:
    [warning] = warnings_after(site, "return x @ self.W", "return 2 * x @ self.W")
    assert warning == (
        "warning: 1 stored run is from before the code of mine changed; "
        "--existing rerun trains again, and a raised `version` keeps both"
    )
    assert "warning" not in command("run", "mine", *CHEAP, "--existing", "rerun", path=site).err
    assert "warning" not in command("run", "mine", *CHEAP, path=site).err


def test_a_row_of_runs_by_different_code_says_so_in_every_format(site: Path, tmp_path: Path) -> None:
    warnings_after(site, "return x @ self.W", "return 2 * x @ self.W")
    for arguments in (["--plain"], ["--markdown"], ["--out", tmp_path / "report.html"]):
        answer = command("compare", "mine", *CHEAP, "--seeds", "2", *arguments, path=site)
        text = (tmp_path / "report.html").read_text() if "--out" in arguments else answer.out
        assert "mine: its runs were made by different states of its code" in text
    answer = command("compare", "mine", *CHEAP, "--seeds", "2", "--existing", "rerun", "--plain", path=site)
    assert "different states" not in answer.out


@pytest.mark.parametrize(
    ("old", "new"),
    [("A linear map", "A map"), ("import torch\n", "import torch  # tensors\n"), ("x @ self.W", "(x) @ (self.W)")],
)
def test_words_comments_and_brackets_are_no_code(site: Path, old: str, new: str) -> None:
    assert warnings_after(site, old, new) == []


def test_the_modules_that_a_method_imports_from_its_own_package_are_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "a_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("import json\nfrom a_package.helper import help\nclass Method: ...\n")
    monkeypatch.syspath_prepend(tmp_path)

    def code(helper: str) -> str:
        (package / "helper.py").write_text(helper)
        for name in [name for name in sys.modules if name.startswith("a_package")]:
            del sys.modules[name]
        return method_code(import_module("a_package.method").Method)

    first, second = "def help(): return 1\n", "def help(): return 123\n"
    assert code(first) != code(second)
    assert code(first) == code(first + "# the end\n")
