"""The pages of documentation do what they show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from pages import ROOT, absent, blocks, environment, perform

import zslbench

GUIDE = ROOT / "docs" / "guide"


@pytest.mark.parametrize("page", sorted(path.name for path in GUIDE.glob("*.md")))
def test_the_code_of_a_page_runs_and_its_commands_print_what_it_shows(
    page: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    variables = environment(tmp_path_factory.mktemp("environment"))
    perform(blocks(GUIDE / page), tmp_path, variables)


def test_the_python_of_the_readme_runs(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python\n")[2].partition("\n## ")[0]
    (tmp_path / "example.py").write_text(dedent(section))
    variables = environment(tmp_path_factory.mktemp("environment"))
    ran = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert {line.split()[0] for line in ran.stdout.splitlines() if line} >= {"SP-AEN", "DeViSE", "SAE"}


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_the_reference_has_every_public_name_once() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md")]
    named = re.findall(r"^::: zslbench\.(\w+)$", "\n".join(pages), re.MULTILINE)
    modules = {"hookspecs", "testing"}
    assert sorted(set(named) - modules) == sorted(set(zslbench.__all__) - {"__version__"})
    assert len(named) == len(set(named))


def test_shown_output_is_compared_in_order_and_without_its_numbers() -> None:
    printed = ["digits: one seed", "method  U->U", "------  ----", "SAE     59.5", "done in 2 s"]
    assert absent(["method U->U", "SAE  61.0", "..."], printed) == ""
    assert absent(["SAE  61.0", "method U->U"], printed) == "method U->U"
    assert absent(["ALE  61.0"], printed) == "ALE  61.0"


def test_a_block_that_no_test_would_run_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n")
    with pytest.raises(AssertionError, match="python that no test runs"):
        blocks(page)
