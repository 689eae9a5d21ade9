"""What is installed: names, layers, and no folder of ours on anybody's path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

import zslbench
from zslbench.discovery.plugins import registry

ROOT = Path(__file__).parents[1]
PACKAGES = {"zslbench", "zslbench_methods", "zslbench_datasets"}
FOLDERS = ("datasets", "methods", "plugins", "tests")


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel that an editable install unpacks into site-packages, made from this checkout."""
    code = "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
    target = tmp_path_factory.mktemp("editable")
    build = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(target / build.stdout.strip()) as wheel:
        wheel.extractall(target / "site")
    [hooks] = find_spec("editables").submodule_search_locations or []  # type: ignore[union-attr]
    shutil.copytree(hooks, target / "site" / "editables")  # which the unpacked files import
    return target / "site"


def test_an_editable_install_makes_our_packages_and_no_folder_importable(editable: Path, tmp_path: Path) -> None:
    """Without `dev-mode-exact` its .pth puts `datasets/` on the path, where it poses as Hugging Face's package."""
    code = f"""
import importlib.util, site, sys
site.addsitedir({str(editable)!r})
for name in {sorted(PACKAGES)!r} + {list(FOLDERS)!r}:
    spec = importlib.util.find_spec(name)
    print(name, spec and (spec.origin or list(spec.submodule_search_locations)))
"""
    # -S leaves out the environment's own site-packages, where zslbench may be installed in yet another way
    found = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    origins = dict(line.split(" ", 1) for line in found.stdout.splitlines())
    assert origins == {
        "zslbench": str(ROOT / "zslbench" / "__init__.py"),
        "zslbench_methods": str(ROOT / "methods" / "zslbench_methods" / "__init__.py"),
        "zslbench_datasets": str(ROOT / "datasets" / "zslbench_datasets" / "__init__.py"),
        **dict.fromkeys(FOLDERS, "None"),
    }


def test_in_this_environment_our_folders_are_not_importable(tmp_path: Path) -> None:
    code = (
        "from importlib.util import find_spec\n"
        f"for name in {FOLDERS!r}:\n"
        "    spec = find_spec(name)\n"
        "    print(*(spec.submodule_search_locations or [spec.origin]) if spec else [], sep='\\n')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert [line for line in found.stdout.splitlines() if Path(line).is_relative_to(ROOT / "datasets")] == []
    assert [line for line in found.stdout.splitlines() if line in {str(ROOT / name) for name in FOLDERS}] == []


def test_the_wheel_holds_the_three_packages_with_their_data_files_and_nothing_else(tmp_path: Path) -> None:
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    build = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / build.stdout.strip()) as wheel:
        names = wheel.namelist()
    version = zslbench.__version__
    assert {name.split("/")[0] for name in names} == {*PACKAGES, f"zslbench-{version}.dist-info"}
    homes = {"zslbench": ROOT, "zslbench_methods": ROOT / "methods", "zslbench_datasets": ROOT / "datasets"}
    for package, home in homes.items():
        files = {str(path.relative_to(home)) for path in (home / package).rglob("*") if path.is_file()}
        files = {name for name in files if "__pycache__" not in name}
        assert files == {name for name in names if name.startswith(f"{package}/")}
    assert "zslbench_methods/papers/spaen.toml" in names
    assert "zslbench_methods/published.csv" in names


def test_imports_point_down_the_layers() -> None:
    linter = shutil.which("lint-imports", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        pytest.skip("import-linter is not installed (pip install 'zslbench[dev]')")
    linted = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
    assert "0 broken" in linted.stdout


def test_every_public_name_resolves() -> None:
    assert len(set(zslbench.__all__)) == len(zslbench.__all__)
    for name in zslbench.__all__:
        assert getattr(zslbench, name) is not None
    with pytest.raises(AttributeError, match="'zslbench' has no attribute 'Embeder'"):
        getattr(zslbench, "Embeder")  # noqa: B009


def test_type_checkers_see_the_same_public_names() -> None:
    """The names behind `TYPE_CHECKING` and those imported lazily are written down twice."""
    source = (ROOT / "zslbench" / "__init__.py").read_text()
    declared = {line.split()[-1] for line in source.splitlines() if line.startswith("    from zslbench.")}
    assert declared == set(zslbench.__all__) - {"__version__"}


def test_the_version_is_that_of_the_distribution() -> None:
    assert metadata.version("zslbench") == zslbench.__version__


@pytest.mark.parametrize("name", registry().names("method"))
def test_every_method_cites_a_paper_with_its_year_and_says_what_it_is(name: str) -> None:
    card = registry().entry("method", name).card
    assert card.title
    assert card.summary
    assert any(word.isdigit() and 1990 <= int(word) <= 2100 for word in card.paper.replace(".", " ").split())
    assert card.url.startswith("https://")
    for preset in card.presets.values():
        assert preset.source


@pytest.mark.parametrize("name", registry().names("dataset"))
def test_every_data_set_says_whose_it_is_and_what_may_be_done_with_it(name: str) -> None:
    card = registry().entry("dataset", name).card
    assert card.citation
    assert card.licence
    assert card.homepage.startswith("https://") or (card.embedded and not card.homepage)


@pytest.mark.parametrize(
    "entry", [e for kind in ("method", "dataset", "evaluator", "engine") for e in registry().entries(kind)]
)
def test_whatever_is_registered_can_be_imported(entry) -> None:  # type: ignore[no-untyped-def]
    module, attribute = entry.target.split(":")
    assert hasattr(import_module(module), attribute)
