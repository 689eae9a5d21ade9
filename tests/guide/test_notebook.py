"""The notebook of the guide: it runs, and its tables are those that are stored in it.

`PYTHONPATH=tests python tests/guide/test_notebook.py` executes it and stores what it shows.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from pages import ROOT

NOTEBOOK = ROOT / "docs" / "guide" / "from-python.ipynb"
TIMES = ("train s",)


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Runs the cells in a folder; one that fails raises, and so does one that takes longer than all should."""
    NotebookClient(notebook, timeout=50, record_timing=False, resources={"metadata": {"path": folder}}).execute()


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def tables(notebook: NotebookNode) -> list[list[list[str]]]:
    """Returns the texts of each table that is shown, without columns of times."""
    found = []
    for output in outputs(notebook):
        html = output.get("data", {}).get("text/html", "")
        if "<table" in html:
            lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in html.split("<tr")[1:]]
            kept = [i for i, head in enumerate(lines[0]) if head not in TIMES]
            found.append([[re.sub("<[^>]*>", "", line[i]) for i in kept] for line in lines])
    return found


def figures(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    folder = tmp_path_factory.mktemp("notebook")
    notebook = read(NOTEBOOK)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ZSLBENCH_STORE", raising=False)
        for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("OMP_NUM_THREADS", "1")
        execute(notebook, folder)
    return notebook


def test_what_the_notebook_shows_is_what_it_computes(executed: NotebookNode) -> None:
    stored, now = tables(read(NOTEBOOK)), tables(executed)
    assert len(stored) == len(now) == 3
    for before, after in zip(stored, now, strict=True):
        for old, new in zip(before, after, strict=True):
            for one, other in zip(old, new, strict=True):
                assert re.sub(r"[-\d.]+", "#", one) == re.sub(r"[-\d.]+", "#", other)
                unit = 0.5 if "±" in one else 0.005  # percent and fractions; machines round differently
                assert figures(one) == pytest.approx(figures(other), abs=unit)


def test_progress_ends_as_one_line_and_nothing_warns(executed: NotebookNode) -> None:
    texts = [output.data["text/plain"] for output in outputs(executed) if output.output_type == "display_data"]
    assert [text for text in texts if "Figure" not in text] == ["4 of 4 runs done"]
    assert not [output for output in outputs(executed) if output.output_type == "stream"]


def test_the_stored_notebook_is_small_and_names_no_machine() -> None:
    text, notebook = NOTEBOOK.read_text(encoding="utf-8"), read(NOTEBOOK)
    assert len(text) < 400_000 and notebook.metadata.kernelspec.name == "python3"
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code"), "it was not executed"
    assert not any("execution" in cell.metadata for cell in notebook.cells), "it says when it was executed"
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) == 6
    assert not re.search(r"/(home|tmp|root|Users|usr|work|opt)/", re.sub(r'"image/png": "[^"]*"', "", text))


if __name__ == "__main__":
    os.environ.pop("ZSLBENCH_STORE", None)
    renewed = read(NOTEBOOK)
    with tempfile.TemporaryDirectory() as empty:
        execute(renewed, Path(empty))
    nbformat.write(renewed, NOTEBOOK)
