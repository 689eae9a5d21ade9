"""The example, really installed by pip, and used from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from outside import command

EXAMPLE = Path(__file__).parents[2] / "plugins" / "zslbench-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip installed the example into; the environment stays as it is."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([*pip, *offline, str(EXAMPLE)], check=True)
    return target


def test_the_plugin_its_method_and_its_data_set_are_listed(installed: Path) -> None:
    plugins = json.loads(command("list", "plugins", "--json", path=installed).out)
    [own] = [plugin for plugin in plugins if plugin["name"].startswith("zslbench-example")]
    assert own == {
        "name": "zslbench-example:example",
        "version": "0.1.0",
        "module": "zslbench_example",
        "status": "ok",
        "problem": "",
    }
    methods = json.loads(command("list", "methods", "--json", path=installed).out)
    assert {"eszsl", "exemplars"} <= {method["name"] for method in methods}
    datasets = json.loads(command("list", "datasets", "--json", path=installed).out)
    assert {"digits", "blobs"} <= {dataset["name"] for dataset in datasets}


def test_its_method_and_its_data_set_run_and_its_observer_is_called(installed: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = ["compare", "exemplars", "devise:epochs=2", "-d", "digits", "-d", "blobs", "--seeds", "1", "--json"]
    answer = command(*arguments, path=installed, environment={"ZSLBENCH_EXAMPLE_LOG": str(log)})
    assert answer.status == 0, answer.err
    records = json.loads(answer.out)["runs"]
    runs = {(record["spec"]["method"], record["spec"]["dataset"]): record for record in records}
    assert runs.keys() == {(method, data) for method in ("exemplars", "devise") for data in ("digits", "blobs")}
    own = runs["exemplars", "digits"]
    assert own["metrics"]["acc_uu"] > 0.45  # chance among three unseen digits is 0.33
    assert runs["exemplars", "blobs"]["metrics"]["acc_uu"] > 0.5  # chance among four unseen blobs is 0.25
    assert own["provenance"]["method_plugin"] == "zslbench-example 0.1.0"

    lines = log.read_text().splitlines()
    for record in records:
        # two fits of two epochs each for DeViSE, the first to choose gamma; none for the closed form
        epochs = ["epoch {id} 1/2", "epoch {id} 2/2"] * 2 if record["spec"]["method"] == "devise" else []
        expected = ["started {id} {spec[method]} 0", *epochs, "finished {id}"]
        assert [line for line in lines if record["id"] in line] == [line.format(**record) for line in expected]


def test_its_own_tests_pass_on_what_was_installed(installed: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE)],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout
    assert "passed" in answer.stdout
