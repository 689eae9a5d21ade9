"""`zslbench runs export` and `import`: whatever is taken over is what it says, and nothing is overwritten."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
from outside import CHEAP, Answer, Inside, start

from zslbench.bench import Bench
from zslbench.files import seal, unseal
from zslbench.records.exchange import collected
from zslbench.records.store import Store

METHODS = ("devise:epochs=2", "sae", "eszsl")


@pytest.fixture
def filled(inside: Inside, store: Path) -> Store:
    """A store with three noted runs."""
    assert inside("compare", *METHODS, *CHEAP, "--note", "mine").status == 0
    return Store(store)


@pytest.fixture
def exported(filled: Store, inside: Inside, tmp_path: Path) -> Path:
    """Its export file."""
    file = tmp_path / "runs.zip"
    answer = inside("runs", "export", file)
    assert answer.status == 0 and answer.out.startswith(f"{file}: 3 runs, 3 models; "), answer.err
    return file


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The folder of another store, not made yet."""
    return tmp_path / "other"


def taken(inside: Inside, source: Path, other: Path) -> Answer:
    return inside("runs", "import", source, "--store", other)


def shown(store: Path) -> dict[str, Any]:
    """Returns what a store has, by an independent reader."""
    found = {}
    for path in store.glob("runs/*/record.json"):
        names = sorted(one.name for one in path.parent.iterdir())
        found[path.parent.name] = (json.loads(path.read_bytes()), names)
    return found


def entries(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(file: Path, content: dict[str, bytes], **about: Any) -> Path:
    """Writes entries as somebody with a ZIP program would, the manifest made to fit them."""
    manifest = json.loads(unseal(content["manifest.json"]))
    manifest["entries"] = {
        name: {"size": len(own), "sha256": hashlib.sha256(own).hexdigest()}
        for name, own in content.items()
        if name != "manifest.json"
    }
    content = {**content, "manifest.json": seal({**manifest, **about.pop("manifest", {})}).encode()}
    with zipfile.ZipFile(file, "w", **about) as archive:
        for name, own in content.items():
            archive.writestr(name, own)
    return file


def edited(file: Path, change: Callable[[dict[str, Any]], object], *, checksum: bool) -> Path:
    """Edits the record of one run by hand, and makes its checksum anew or leaves the old one."""
    content = entries(file)
    name = min(name for name in content if name.endswith("record.json"))
    if checksum:
        record = json.loads(unseal(content[name]))
        change(record)
        content[name] = seal(record).encode()
    else:
        record = json.loads(content[name])
        change(record)
        content[name] = json.dumps(record, indent=1).encode()
    return written(file, content)


def test_what_is_exported_comes_back_whole_with_notes_and_models(
    exported: Path, filled: Store, inside: Inside, other: Path, tmp_path: Path
) -> None:
    first = taken(inside, exported, other)
    assert (first.status, first.out) == (0, "added: 3 runs; there already: 0; conflicts: 0; damaged: 0\n"), first.err
    assert shown(other) == shown(filled.root)
    assert Store(other).note(filled.ids()[0]) == "mine"
    assert [one.state for one in Bench(store=other, on_event=None).import_runs(exported)] == ["present"] * 3
    again = tmp_path / "again.zip"
    assert inside("runs", "export", again, "--store", other).status == 0
    assert again.read_bytes() == exported.read_bytes()
    assert inside("runs", "verify", "--store", other).status == 0
    assert inside("compare", *METHODS, *CHEAP, "--store", other).err.count("3 of 3 runs were stored already") == 1


def test_the_form_is_what_the_guide_says(exported: Path, filled: Store) -> None:
    with zipfile.ZipFile(exported) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0) and entry.compress_type == zipfile.ZIP_STORED
            assert stat.S_IMODE(entry.external_attr >> 16) == 0o644
    content = entries(exported)
    sealed = content.pop("manifest.json")
    manifest = json.loads(sealed)
    assert (manifest["format"], manifest["zslbench"]) == (1, "0.1.0")
    assert list(manifest["entries"]) == sorted(content) == list(content)
    for name, own in content.items():
        assert manifest["entries"][name] == {"size": len(own), "sha256": hashlib.sha256(own).hexdigest()}
    assert {name.split("/")[1] for name in content} == set(filled.ids())


def test_some_runs_without_models_and_a_store_are_sources_too(
    filled: Store, inside: Inside, other: Path, tmp_path: Path
) -> None:
    file = tmp_path / "some.zip"
    assert inside("runs", "export", file, "--filter", "method=sae,eszsl", "--no-models").out.startswith(
        f"{file}: 2 runs; "
    )
    assert taken(inside, file, other).status == 0
    assert inside("runs", "--store", other, "--filter", "model").out == "none of 2 runs fits\n"
    assert taken(inside, filled.root, other).out == "added: 1 run; there already: 2; conflicts: 0; damaged: 0\n"
    assert inside("runs", "export", file, "--filter", "method=conse").error().startswith("no run in ")
    assert inside("runs", "import", filled.root).error().endswith("it is the store itself; name another one")
    (tmp_path / "text.zip").write_text("mine")
    assert "is no export file" in inside("runs", "export", tmp_path / "text.zip").error()
    assert (tmp_path / "text.zip").read_text() == "mine"
    assert "there is no folder" in inside("runs", "export", tmp_path / "no" / "a.zip").error()


def test_two_stores_are_merged_and_a_run_that_came_out_otherwise_stays(
    filled: Store, inside: Inside, other: Path
) -> None:
    """The other store has one run alike, one with other results, and one more."""
    for method in ("sae", "eszsl", "conse"):
        assert inside("run", method, *CHEAP, "--store", other).status == 0
    [theirs] = Bench(store=other, on_event=None).records("method=sae")
    [donor] = Bench(store=other, on_event=None).records("method=eszsl")
    record = theirs.record.model_copy(
        update={name: getattr(donor.record, name) for name in ("metrics", "intervals", "per_class", "validation")}
    )
    Store(other).save(record, donor.arrays())
    mine, before = shown(filled.root), shown(other)
    answer = taken(inside, other, filled.root)
    assert answer.status == 1
    conflict, counts = answer.out.splitlines()
    assert conflict.startswith(f"conflict run {record.id}: its acc_st is ")
    assert counts == "added: 1 run; there already: 1; conflicts: 1; damaged: 0"
    now = shown(filled.root)
    assert len(now) == 4 and now.items() >= mine.items() and shown(other) == before
    assert inside("runs", "verify").status == 0


def test_measured_later_and_made_elsewhere_is_no_conflict(
    exported: Path, filled: Store, inside: Inside, other: Path
) -> None:
    assert taken(inside, exported, other).status == 0
    for run in filled.ids():
        record = filled.find(run)
        assert record is not None
        elsewhere = {"provenance": {"python": "4"}, "measured": {**record.measured, "later": 1}}
        Store(other).save(record.model_copy(update=elsewhere), filled.arrays(record))
    assert taken(inside, other, filled.root).out.startswith("added: 0 runs; there already: 3")


HAND: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "metric": (lambda record: record["metrics"].update(ausuc=0.99), "its metric 'ausuc' is 0.99, and its decisions "),
    "unmeasured": (
        lambda record: (record["metrics"].update(ausuc=0.99), record["measured"].pop("ausuc")),
        "it has the metric 'ausuc', and was not measured by evaluator 'ausuc'",
    ),
    "interval": (lambda record: record["intervals"].update(h=[0.9, 0.95]), "its interval of 'h <' is 0.9"),
    "class": (lambda record: record["per_class"]["u->u"].update({"4": 1.0}), "its per-class accuracy 'u->u 4' is 1"),
    "seed": (lambda record: record["spec"].update(seed=77), "it belongs to another run"),
    "decisions": (lambda record: record.update(arrays="decisions-0.safetensors"), "its decisions decisions-0"),
}


@pytest.mark.parametrize("what", HAND)
def test_a_record_edited_by_hand_is_named_and_the_others_are_taken(
    exported: Path, inside: Inside, other: Path, what: str
) -> None:
    change, problem = HAND[what]
    answer = taken(inside, edited(exported, change, checksum=True), other)
    assert answer.status == 1
    damaged, counts = answer.out.splitlines()
    assert damaged.startswith("damaged run ") and problem in damaged
    assert counts == "added: 2 runs; there already: 0; conflicts: 0; damaged: 1"
    assert inside("runs", "verify", "--store", other).status == 0


def test_a_record_whose_checksum_is_stale_is_named(exported: Path, inside: Inside, other: Path) -> None:
    answer = taken(inside, edited(exported, HAND["metric"][0], checksum=False), other)
    assert answer.status == 1 and "its content does not fit its checksum" in answer.out
    assert len(shown(other)) == 2


def test_rot_in_any_file_is_named(exported: Path, inside: Inside, other: Path) -> None:
    whole = exported.read_bytes()
    for part in ("record.json", "decisions-", "model-"):
        content = bytearray(whole)
        with zipfile.ZipFile(exported) as archive:
            entry = next(entry for entry in archive.infolist() if part in entry.filename)
        content[entry.header_offset + 30 + len(entry.filename) + entry.file_size // 2] ^= 1
        rotten = exported.with_name("rotten.zip")
        rotten.write_bytes(content)
        answer = taken(inside, rotten, other)
        assert answer.status == 1 and answer.out.startswith(f"damaged run {entry.filename.split('/')[1]}: "), part
    assert len(shown(other)) == 2  # it was the same run each time
    assert inside("runs", "verify", "--store", other).status == 0


def _named(name: str) -> Callable[[Path], Path]:
    return lambda file: written(file, {**entries(file), name: b"{}"})


def _truncated(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def _twice(file: Path) -> Path:
    with zipfile.ZipFile(file) as archive:
        name = archive.namelist()[0]
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, b"{}")
    return file


def _overlapping(file: Path) -> Path:
    """Has every entry in the list declare ten times the file's size, with the same bytes behind it."""
    content = bytearray(file.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<II", content, at + 20, 10 * len(content), 10 * len(content))
        at = content.find(b"PK\x01\x02", at + 4)
    file.write_bytes(content)
    return file


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absolute": (_named("/tmp/x"), "'/tmp/x' is no name in an export file"),
    "parent": (_named("../x"), "'../x' is no name in an export file"),
    "inner parent": (_named("runs/../../x"), "is no name in an export file"),
    "pickle": (_named("runs/0123456789abcdef/model.pkl"), "is no name in an export file"),
    "compressed": (
        lambda file: written(file, entries(file), compression=zipfile.ZIP_DEFLATED),
        "is compressed or encrypted",
    ),
    "truncated": (_truncated, "cannot be read as ZIP"),
    "empty": (lambda file: (file.write_bytes(b""), file)[1], "cannot be read as ZIP"),
    "twice": (_twice, "is there twice"),
    "too large": (_overlapping, "its entries declare "),
    "newer": (lambda file: written(file, entries(file), manifest={"format": 2}), "its format is 2, and this version"),
    "unlisted": (
        lambda file: written(file, entries(file), manifest={"entries": {}}),
        "is not as its manifest says",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_is_no_export_file_is_one_line_and_nothing_is_taken(
    exported: Path, inside: Inside, other: Path, what: str
) -> None:
    make, problem = BAD[what]
    answer = taken(inside, make(exported), other)
    assert answer.status == 1 and problem in answer.error()
    assert not other.exists()


def test_decisions_that_would_fill_memory_are_named(exported: Path, filled: Store, inside: Inside, other: Path) -> None:
    content = entries(exported)
    name = min(name for name in content if name.endswith("record.json"))
    record = json.loads(unseal(content[name]))
    for key in ("y", "validation/y", "choice_seen"):
        arrays = safetensors.numpy.load(content[f"{name.rpartition('/')[0]}/{record['arrays']}"])
        arrays[key] = arrays[key].copy()
        arrays[key][0] = 2**40
        decisions = safetensors.numpy.save(arrays)
        arrays_name = f"decisions-{hashlib.sha256(decisions).hexdigest()[:16]}.safetensors"
        changed = {own: text for own, text in content.items() if "decisions" not in own or record["id"] not in own}
        changed[name] = seal({**record, "arrays": arrays_name}).encode()
        changed[f"{name.rpartition('/')[0]}/{arrays_name}"] = decisions
        answer = taken(inside, written(exported.with_name("bad.zip"), changed), other)
        assert f"its decisions ({key}) name a class that it does not have" in answer.out


def test_another_zip_file_and_no_file_are_one_line(inside: Inside, other: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    assert "it has no manifest.json" in taken(inside, tmp_path / "a.zip", other).error()
    assert "there is no such file or folder" in taken(inside, tmp_path / "b.zip", other).error()
    assert "there is no store in this folder" in taken(inside, tmp_path, other).error()


def test_searches_go_with_the_runs_that_they_tuned(inside: Inside, store: Path, other: Path, tmp_path: Path) -> None:
    how = ["-d", "digits", "--folds", "1", "--trials", "2", "--search", "epochs=2:3", "--device", "cpu"]
    assert inside("run", "devise", "--tuned", *how).status == 0
    file = tmp_path / "tuned.zip"
    assert inside("runs", "export", file, "--filter", "tuned").out.startswith(f"{file}: 1 run, 1 model, 1 search; ")
    assert taken(inside, file, other).out.startswith("added: 1 run, 1 search; ")
    assert taken(inside, file, other).out.startswith("added: 0 runs; there already: 2;")
    again = inside("run", "devise", "--tuned", *how, "--store", other)
    assert again.status == 0 and "1 of 1 runs were stored already" in again.err
    assert inside("runs", "--store", other, "--filter", "trial").out == "none of 1 runs fits\n"


def test_a_store_of_an_older_version_is_a_source(inside: Inside, other: Path, tmp_path: Path) -> None:
    root = tmp_path / "old"
    with zipfile.ZipFile(Path(__file__).parent / "schema1.zip") as file:
        file.extractall(root)
    before = {path: path.read_bytes() for path in root.rglob("*.json")}
    assert taken(inside, root, other).status == 0
    assert inside("runs", "verify", "--store", other).status == 0
    assert {path: path.read_bytes() for path in before} == before
    assert set(shown(other)) == set(Store(root).ids())


def test_export_files_are_read_together_as_a_store(exported: Path, inside: Inside, tmp_path: Path) -> None:
    bad = edited(Path(shutil.copy(exported, tmp_path / "bad.zip")), HAND["metric"][0], checksum=True)
    with collected([exported, bad]) as (store, found):
        assert len(list(store.records())) == 3
        assert [one.state for one in found[bad]].count("damaged") == 1
        root = store.root
    assert not root.exists()


def test_killed_at_random_moments_an_import_leaves_a_valid_store_and_ends_when_issued_again(
    exported: Path, inside: Inside, other: Path
) -> None:
    began = time.monotonic()
    with start("runs", "import", exported, "--store", other / "whole") as undisturbed:
        undisturbed.communicate()
    longest, moments = time.monotonic() - began, random.Random(0)
    for _ in range(6):
        with start("runs", "import", exported, "--store", other) as process:
            time.sleep(moments.uniform(0.5, 1) * longest)
            process.kill()
        if (other / "runs").is_dir():
            assert inside("runs", "verify", "--store", other).status == 0
    assert taken(inside, exported, other).status == 0
    assert shown(other) == shown(other / "whole") and len(shown(other)) == 3
