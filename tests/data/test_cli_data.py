"""`zslbench data`: what it prints, its exit status, and that help stays light."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from zslbench import XLSA17Dataset
from zslbench.cli.data import app
from zslbench.data import catalogue, download
from zslbench.discovery.registry import Registry
from zslbench.errors import DataError, Hint, UsageError
from zslbench_datasets import zslbench_register

PARTS = ("train", "validation_seen", "validation_unseen", "test_seen", "test_unseen")


@pytest.fixture(autouse=True)
def built_in(monkeypatch):
    filled = Registry()
    zslbench_register(filled)
    monkeypatch.setattr(catalogue, "registry", lambda: filled)
    monkeypatch.setattr("zslbench.discovery.plugins.registry", lambda: filled)


def invoke(*arguments: object):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_audit_names_the_counts_of_suns_first_split_and_only_warns(real_data):
    result = invoke("audit", "sun", "--splits", "att_splits_v1", "--data-root", real_data)
    (line,) = [line for line in result.stdout.splitlines() if "2320 + 260" in line]
    assert line.startswith("warn")
    assert result.exit_code == 0


def test_audit_prints_json_and_nothing_else(make_xlsa17, tmp_path):
    report = json.loads(invoke("audit", make_xlsa17(), "--json").stdout)
    assert {"check": "images", "value": "110", "verdict": "ok", "detail": ""} in report["findings"]
    assert report["splits"] == "att_splits"


def test_verify_prints_json_too_and_both_can_be_plain(make_xlsa17, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    folder = make_xlsa17(seed=2)
    report = json.loads(invoke("verify", folder, "--json").stdout)
    assert [found["check"] for found in report["findings"]] == ["att_splits", "res101"]
    for command in ("audit", "verify"):
        assert "\x1b" in invoke(command, folder).stdout
        assert "\x1b" not in invoke(command, folder, "--plain").stdout


def test_audit_fails_where_a_check_fails(make_xlsa17):
    folder = make_xlsa17(edit=lambda files: files["att_splits"]["att"].__setitem__((0, 0), float("nan")))
    result = invoke("audit", folder)
    assert result.exit_code == 1
    assert "fail  NaN or infinite values in class embeddings: 1" in result.stdout


def test_describe_prints_card_and_cosine(real_data):
    output = invoke("describe", "sun", "--data-root", real_data).stdout
    assert "0.9851" in output
    assert "SUN Attribute Database" in output


def test_describe_digits_needs_no_data(tmp_path):
    output = invoke("describe", "digits", "--data-root", tmp_path).stdout
    assert "1009 / 248 / 540" in output


def test_split_lists_every_image_of_the_split_once_with_its_part(make_xlsa17):
    folder = make_xlsa17()
    lines = list(csv.DictReader(invoke("split", folder).stdout.splitlines()))
    data = XLSA17Dataset.at(folder).load_labels(folder)
    rows = {part: [int(line["image"]) - 1 for line in lines if line["part"] == part] for part in PARTS}
    assert sum(map(len, rows.values())) == len(lines)
    trainval = [row for part in PARTS[:3] for row in rows[part]]
    assert sorted(trainval) == sorted(data.train.tolist())
    assert [rows[part] for part in PARTS[3:]] == [sorted(data.test_seen.tolist()), sorted(data.test_unseen.tolist())]
    classes = {part: {line["class"] for line in lines if line["part"] == part} for part in PARTS}
    assert classes["validation_seen"] == classes["train"] and not classes["validation_unseen"] & classes["train"]
    assert all(line["class"] == data.class_names[data.labels[int(line["image"]) - 1]] for line in lines)


def test_list_shows_what_is_present(make_xlsa17, tmp_path):
    make_xlsa17(name="AWA1", features="bow512")
    rows = {line.split()[0]: line for line in invoke("list", "--data-root", tmp_path).stdout.splitlines()}
    assert rows["awa1"].split() == ["awa1", "AWA1", "yes", "bow512", "att_splits"]
    assert rows["sun"].split() == ["sun", "SUN", "no", "none"]
    assert rows["digits"].split()[2:] == ["yes", "pixels"]


def test_verify_names_a_damaged_entry_of_the_cache_and_fails_on_a_cut_file(make_xlsa17, tmp_path, monkeypatch):
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    folder = make_xlsa17()
    assert "res101: whole\n" in invoke("verify", folder).stdout
    rows = max((tmp_path / "cache" / "mat").glob("*/*.npy"), key=lambda path: path.stat().st_size)
    stat, content = rows.stat(), bytearray(rows.read_bytes())
    content[-2] ^= 1
    rows.write_bytes(content)
    os.utime(rows, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.warns(Hint, match="is damaged, and is made again"):
        assert "res101: whole; in the cache it was damaged" in invoke("verify", folder).stdout
    assert "res101: whole\n" in invoke("verify", folder).stdout
    (folder / "vit.mat").write_bytes(b"cut")
    result = invoke("verify", folder)
    assert result.exit_code == 1
    assert "fail  vit: unusable" in result.stdout


def test_get_says_what_was_added(tmp_path, monkeypatch):
    def fetch(folder, root, progress):
        progress(5, 10)
        return [root / folder / "res101.mat"]

    monkeypatch.setattr(download, "get", fetch)
    result = invoke("get", "sun", "--data-root", tmp_path)
    assert result.stdout == f"{tmp_path / 'SUN'}: added res101.mat\n"


def test_get_refuses_what_is_no_download(make_xlsa17, tmp_path):
    for name in ("digits", make_xlsa17()):
        with pytest.raises(UsageError, match="is not one to download"):
            invoke("get", name, "--data-root", tmp_path / "elsewhere")


def test_errors_are_raised_for_the_main_program_to_print(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'sun'"):
        invoke("audit", "sunn")
    with pytest.raises(DataError, match="zslbench data get sun"):
        invoke("describe", "sun", "--data-root", tmp_path)


def test_help_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from typer.testing import CliRunner; from zslbench.cli.data import app; "
        "print(CliRunner().invoke(app, ['--help']).exit_code, {'torch', 'pandas', 'numpy', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 set()\n"
