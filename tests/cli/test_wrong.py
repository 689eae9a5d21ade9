"""Bad input gets one line that says what is wrong and what to do, and the right exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from outside import CHEAP, Inside, command

COMMAND, RUN = 2, 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "eszls"], ["unknown method 'eszls'", "did you mean 'eszsl'?"]),
        (["run", "eszsl", "-d", "digit"], ["unknown data set 'digit'", "did you mean 'digits'?"]),
        (["run", "eszsl", "-d", "shape:size=32"], ["unknown data set 'shape'", "did you mean 'shapes'?"]),
        (["run", "eszsl", "-d", "shapes:sise=32"], ["data set 'shapes' has no option 'sise'", "did you mean 'size'?"]),
        (["run", "eszsl", "-d", "shapes:size"], ["data set 'shapes': option 'size' is not key=value"]),
        (["data", "describe", "shapes:size=many"], ["data set 'shapes': option size='many'", "integer"]),
        (["data", "audit", "shapes:semantic_loss=1.5"], ["option semantic_loss='1.5'", "less than or equal to 1"]),
        (["run", "eszsl", "-d", "digits:size=32"], ["data set 'digits' has no option 'size'; it has none"]),
        (["run", "eszsl", "-d", "./no:where"], ["data set ./no:where", "no folder"]),
        (["run", "eszsl", "-d", "./nowhere"], ["data set ./nowhere", "no folder"]),
        (["run", "eszsl", "-p", "gama=1"], ["method 'eszsl' has no parameter 'gama'", "did you mean 'gamma'?"]),
        (["run", "eszsl:gama=1"], ["method 'eszsl' has no parameter 'gama'", "did you mean 'gamma'?"]),
        (["run", "sae@f2t"], ["has no preset 'f2t'", "did you mean 'f2s'"]),
        (["run", "sae", "--preset", "f2t"], ["has no preset 'f2t'", "did you mean 'f2s'"]),
        (["run", "eszsl@port", "-d", "digits"], ["preset 'port' of method 'eszsl'", "only for apy, awa1"]),
        (["run", "eszsl", "-p", "gamma=-1"], ["method 'eszsl'", "gamma='-1'", "greater than 0"]),
        (["run", "eszsl", "-p", "gamma=inf"], ["method 'eszsl'", "gamma='inf'", "finite"]),
        (["run", "eszsl", "-p", "gamma=much"], ["method 'eszsl'", "gamma='much'", "number"]),
        (["run", "devise", "-p", "epochs=1.5"], ["method 'devise'", "epochs='1.5'", "integer"]),
        (["run", "sae", "-p", "direction=up"], ["method 'sae'", "direction='up'", "'f2s'"]),
        (["run", "eszsl", "-p", "gamma"], ["parameter 'gamma' is not key=value"]),
        (["run", "eszsl:gamma"], ["parameter 'gamma' is not key=value"]),
        (["run", "eszsl", "--seed", "1", "--seeds", "2"], ["--seed and --seeds: give one of them"]),
        (["run", "eszsl", "--seeds", "0"], ["--seeds", "greater than or equal to 1"]),
        (["run", "eszsl", "--seed", "one"], ["--seed", "integer"]),
        (["run", "eszsl", "--scale", "l3"], ["--scale l3", "choose none, l2, zscore or minmax"]),
        (["run", "eszsl", "--semantics-scale", "whitn"], ["--semantics-scale whitn: choose none, l2 or whiten"]),
        (["run", "eszsl", "--on", "train"], ["--on", "'test', 'validation'"]),
        (["run", "eszsl", "--existing", "ignore"], ["--existing", "'reuse', 'rerun', 'only-cached'"]),
        (["run", "eszsl", "--device", "tpu"], ["--device tpu", "auto, cpu, cuda or cuda:N"]),
        (["run", "eszsl", "--engine", "inlin", "-d", "digits"], ["unknown engine 'inlin'", "did you mean 'inline'?"]),
        (
            ["run", "eszsl", "--engine", "ray:gpu_per_run=1", "-d", "digits"],
            ["engine 'ray' has no option 'gpu_per_run'", "did you mean 'gpus_per_run'?"],
        ),
        (["run", "eszsl", "--engine", "ray:gpus_per_run=2"], ["engine 'ray': option gpus_per_run='2'", "equal to 1"]),
        (["run", "eszsl", "--engine", "inline:a=1"], ["engine 'inline' has no option 'a'; it has none"]),
        (["run"], ["Missing argument"]),
        (["compare"], ["Missing argument"]),
        (["rum", "eszsl"], ["No such command 'rum'"]),
        (["run", "eszsl", "--sed", "1"], ["No such option", "--sed"]),
        (["list", "method"], ["'method'", "methods"]),
        (["runs"], ["store", "there is no store", "run a method first"]),
        (
            ["compare", "external:mine", "-d", "digits"],
            ["no stored scores 'external:mine'", "zslbench evaluate --save"],
        ),
        (["evaluate", "scores.npz"], ["Missing option '--dataset'"]),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(
    inside: Inside, store: Path, arguments: list[str], said: list[str]
) -> None:
    answer = inside(*arguments)
    assert answer.status == COMMAND
    for words in said:
        assert words in answer.error()
    assert list(store.glob("runs/*")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "eszsl", "-d", "sun"], ["data set SUN", "att_splits.mat is missing", "zslbench data get sun"]),
        (["run", "eszsl", "-d", "digits", "--features", "res101"], ["data set digits has no features 'res101'"]),
        (["run", "eszsl", "-d", "digits", "--splits", "mine"], ["data set digits has no split 'mine'"]),
    ],
)
def test_data_that_are_not_there_are_one_line_and_status_1(
    inside: Inside, arguments: list[str], said: list[str]
) -> None:
    answer = inside(*arguments)
    assert answer.status == RUN
    for words in said:
        assert words in answer.error()


def test_from_outside_a_wrong_command_is_one_line_too() -> None:
    answer = command("run", "eszls", *CHEAP)
    assert answer.status == COMMAND
    assert answer.error() == "unknown method 'eszls'; did you mean 'eszsl'?"


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_store_that_cannot_be_written_is_one_line_and_nothing_runs(
    inside: Inside, tmp_path: Path, below: str
) -> None:
    (tmp_path / "a-file").write_text("not a folder")
    store = tmp_path / "a-file" / below
    answer = inside("run", "eszsl", *CHEAP, "--store", store)
    assert answer.status == COMMAND
    assert answer.error().startswith(f"--store {store}: cannot be written (")
    assert (tmp_path / "a-file").read_text() == "not a folder"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_where_there_is_none_is_one_line(inside: Inside, device: str) -> None:
    answer = inside("run", "eszsl", "-d", "digits", "--device", device)
    assert answer.status == COMMAND
    assert answer.error().startswith(f"--device {device}: ")
    assert "no CUDA device" in answer.error()
    assert "--device cpu" in answer.error()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "null",
        lambda text: text.replace('"metrics"', '"metricks"'),
        lambda text: "\x00" * len(text),
    ],
    ids=["cut", "empty", "null", "renamed", "zeros"],
)
def test_a_damaged_record_is_set_aside_and_the_run_repeated(inside: Inside, store: Path, damage) -> None:  # type: ignore[no-untyped-def]
    [before] = json.loads(inside("run", "eszsl", *CHEAP, "--json").out)["runs"]
    path = store / "runs" / before["id"] / "record.json"
    damaged = damage(path.read_text())
    path.write_text(damaged)

    answer = inside("run", "eszsl", *CHEAP, "--json")

    assert answer.status == 0
    [after] = json.loads(answer.out)["runs"]
    assert after["metrics"] == before["metrics"]
    [warning] = [line for line in answer.err.splitlines() if line.startswith("warning: ")]
    assert f"{path}: damaged record" in warning
    assert path.with_name("record.json.damaged").read_text() == damaged
    assert json.loads(path.read_text())["id"] == before["id"]


def test_records_damaged_again_and_again_are_all_kept(inside: Inside, store: Path) -> None:
    for content in ("first", "second"):
        inside("run", "eszsl", *CHEAP)
        [path] = store.glob("runs/*/record.json")
        path.write_text(content)
    inside("run", "eszsl", *CHEAP)
    assert path.with_name("record.json.damaged").read_text() == "first"
    assert path.with_name("record.json.damaged-2").read_text() == "second"


def test_a_record_whose_decisions_are_gone_is_set_aside_and_the_run_repeated(inside: Inside, store: Path) -> None:
    [before] = json.loads(inside("run", "eszsl", *CHEAP, "--json").out)["runs"]
    decisions = store / "runs" / before["id"] / before["arrays"]
    decisions.unlink()
    answer = inside("run", "eszsl", *CHEAP, "--json")
    assert answer.status == 0
    assert f"{before['arrays']} is missing" in answer.err
    assert decisions.is_file()
