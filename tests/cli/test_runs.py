"""`run` and `compare` on digits: what is executed, what is reused, what is printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from outside import CHEAP, Answer, Inside, command, distribution

from zslbench import RunRecord

THREE = ("eszsl", "sae", "devise:epochs=2")


def document(answer: Answer) -> dict[str, Any]:
    """Returns the one JSON document of standard output."""
    content: dict[str, Any] = json.loads(answer.out)
    return content


def snapshot(store: Path) -> dict[str, tuple[int, bytes]]:
    """Returns when each record was written, and its content."""
    return {path.parent.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in store.glob("runs/*/record.json")}


def test_compare_prints_one_json_document_of_the_documented_shape_and_nothing_else(store: Path) -> None:
    answer = command("compare", *THREE, "-d", "digits", "--seeds", "2", "--json")
    assert answer.status == 0
    content = document(answer)
    assert content.keys() == {"runs", "summary"}
    records = [RunRecord.model_validate(record) for record in content["runs"]]
    expected = [("eszsl", 0), ("sae", 0), ("devise", 0), ("devise", 1)]  # closed forms have no randomness
    assert [(record.spec.method, record.spec.seed) for record in records] == expected
    assert {path.parent.name for path in store.glob("runs/*/record.json")} == {record.id for record in records}
    assert [(row["method"], row["dataset"]) for row in content["summary"]] == [(name, "digits") for name in THREE]
    for row, pair in zip(content["summary"], (records[:1], records[1:2], records[2:]), strict=True):
        assert row["metrics"].keys() >= {"acc_uu", "acc_ut", "acc_st", "h", "ausuc"}
        for name, spread in row["metrics"].items():
            values = [record.metrics[name] for record in pair]
            deviation = pytest.approx(stdev(values)) if len(pair) > 1 else 0.0
            assert spread == {"mean": pytest.approx(mean(values)), "std": deviation, "n": len(pair)}
    for record in records:
        assert all(0 <= record.metrics[name] <= 1 for name in ("acc_uu", "acc_ut", "acc_st", "h", "ausuc"))
        ut, st = record.metrics["acc_ut"], record.metrics["acc_st"]
        assert record.metrics["h"] == pytest.approx(2 * ut * st / (ut + st))
        low, high = record.intervals["acc_uu"]
        assert low <= record.metrics["acc_uu"] <= high


def test_the_table_has_a_row_for_each_method_and_says_what_it_may_use(inside: Inside) -> None:
    answer = inside("compare", *THREE, *CHEAP, "--plain")
    assert answer.status == 0
    heading, columns, _, *rows = answer.out.splitlines()
    assert heading == "digits: inductive, pixels, zscore, per-class top-1 in percent on test images, one seed"
    assert columns.split("  ")[0] == "method"
    for title in ("U->U", "U->T", "S->T", "H", "AUSUC"):
        assert title in columns.split()
    assert [row.split()[0] for row in rows[:3]] == ["ESZSL", "SAE", "DeViSE"]
    assert "DeViSE epochs=2" in rows[2]


@pytest.mark.parametrize("words", [("--metrics", "ausuc,U->T"), ("--metrics", "AUSUC", "--metrics", "acc_ut")])
def test_metrics_are_chosen_by_name_or_title_in_their_order(inside: Inside, words: tuple[str, ...]) -> None:
    for words_of in (("compare", "eszsl", "sae@f2s"), ("run", "eszsl")):
        answer = inside(*words_of, *CHEAP, "--plain", *words)
        assert answer.out.splitlines()[1].split() == [
            "method",
            *["input"] * (len(words_of) > 2),
            "AUSUC",
            "U->T",
            "train",
            "s",
        ]


def test_an_unknown_metric_is_one_line_before_anything_runs(inside: Inside, store: Path) -> None:
    answer = inside("compare", "eszsl", *CHEAP, "--metrics", "h_call")
    assert answer.status == 2
    assert answer.error().startswith("--metrics: unknown metric 'h_call'; did you mean 'h_cal'")
    assert snapshot(store) == {}


def test_the_same_command_again_executes_nothing(inside: Inside, store: Path) -> None:
    first = inside("compare", *THREE, *CHEAP, "--json")
    before = snapshot(store)
    again = inside("compare", *THREE, *CHEAP, "--json")
    assert len(before) == 3
    assert snapshot(store) == before
    assert document(again) == document(first)
    assert again.err == "3 of 3 runs were stored already\n"


def test_a_method_more_executes_that_method_alone(inside: Inside, store: Path) -> None:
    inside("run", "eszsl", *CHEAP)
    [(run, before)] = snapshot(store).items()
    inside("compare", "eszsl", "sae", *CHEAP)
    after = snapshot(store)
    assert len(after) == 2
    assert after[run] == before


def test_existing_rerun_executes_again_and_gives_the_same_numbers(inside: Inside, store: Path) -> None:
    first = document(inside("run", "devise", "-p", "epochs=2", *CHEAP, "--json"))
    before = snapshot(store)
    again = document(inside("run", "devise", "-p", "epochs=2", *CHEAP, "--json", "--existing", "rerun"))
    [[run, (written, _)]] = before.items()
    assert snapshot(store)[run][0] > written
    assert again["runs"][0]["metrics"] == first["runs"][0]["metrics"]
    assert again["runs"][0]["arrays"] == first["runs"][0]["arrays"]  # named by the hash of every decision


def test_existing_only_cached_shows_what_is_stored_and_executes_nothing(inside: Inside, store: Path) -> None:
    inside("run", "eszsl", *CHEAP)
    before = snapshot(store)
    answer = inside("compare", "eszsl", "sae", *CHEAP, "--existing", "only-cached", "--json")
    assert answer.status == 0
    assert snapshot(store) == before
    assert [record["spec"]["method"] for record in document(answer)["runs"]] == ["eszsl"]
    assert "1 of 2 runs are not stored" in answer.err


@pytest.mark.parametrize(
    ("arguments", "seeds"), [((), [0]), (("--seed", "7"), [7]), (("--seeds", "3"), [0, 1, 2]), (("--seed", "0"), [0])]
)
def test_run_takes_one_seed_or_the_first_n(inside: Inside, arguments: tuple[str, ...], seeds: list[int]) -> None:
    answer = inside("run", "devise:epochs=1", "-d", "digits", "--json", *arguments)
    assert [record["spec"]["seed"] for record in document(answer)["runs"]] == seeds


def test_compare_runs_three_seeds_unless_told_otherwise(inside: Inside) -> None:
    answer = inside("compare", "devise:epochs=1", "-d", "digits", "--json")
    assert [record["spec"]["seed"] for record in document(answer)["runs"]] == [0, 1, 2]


def test_one_run_of_a_method_without_randomness_stands_for_all_seeds(inside: Inside, store: Path) -> None:
    compared = ("compare", "eszsl", "devise:epochs=1", "sae", "-d", "digits", "--seeds", "2")
    content = document(inside(*compared, "--json"))
    seeds = [(record["spec"]["method"], record["spec"]["seed"]) for record in content["runs"]]
    assert seeds == [("eszsl", 0), ("devise", 0), ("devise", 1), ("sae", 0)]
    assert [row["metrics"]["h"]["n"] for row in content["summary"]] == [1, 2, 1]
    out = inside(*compared, "--plain").out
    assert out.count("±") > 1 and "±" not in next(line for line in out.splitlines() if line.startswith("ESZSL"))
    assert out.splitlines().count("eszsl, sae: no randomness, so one fit stands for every seed.") == 1
    [table] = document(inside("table", "gbu", *compared[4:], "-m", "eszsl devise:epochs=1 sae", "--json"))
    assert len(table["pairs"]) == 3  # it is tested against rows of several seeds
    assert "no randomness" not in inside(*compared[:-1], "1", "--plain").out
    assert len(snapshot(store)) == 4


def test_seeds_make_a_difference_to_a_method_that_draws(inside: Inside) -> None:
    first, second = document(inside("run", "devise:epochs=2", "-d", "digits", "--seeds", "2", "--json"))["runs"]
    assert first["arrays"] != second["arrays"]


def test_parameters_come_from_preset_then_options_then_the_variant(inside: Inside) -> None:
    """`sae@f2s` is direction f2s on l2-scaled features, by its card; -p wins over it, a variant's own value over -p."""
    answer = inside("compare", "sae@f2s", "sae@f2s:lam=3", "sae:direction=s2f", "-p", "lam=2", *CHEAP, "--json")
    runs = document(answer)["runs"]
    shown = [(run["params"]["direction"], run["params"]["lam"], run["spec"]["scale"]) for run in runs]
    assert shown[:2] == [("f2s", 2.0, "l2"), ("f2s", 3.0, "l2")]
    assert shown[2][:2] == ("s2f", 2.0)
    assert runs[0]["params_from"].startswith("preset f2s: ")
    assert runs[0]["params_from"].endswith(" + given lam=2")
    assert runs[2]["params_from"] == "given lam=2 direction=s2f"


def test_whitened_class_embeddings_are_in_the_record_and_wherever_it_is_shown(inside: Inside) -> None:
    whitened = ("eszsl", *CHEAP, "--semantics-scale", "whiten")
    [run] = json.loads(inside("run", *whitened, "--json").out)["runs"]
    assert (run["spec"]["scale"], run["spec"]["semantics_scale"]) == ("zscore", "whiten")
    assert "pixels, zscore, att whiten" in inside("compare", *whitened, "--plain").out
    assert "semantics scale: whiten" in inside("show", run["id"], "--plain").out
    [other] = json.loads(inside("run", "eszsl", *CHEAP, "--json").out)["runs"]
    assert other["id"] != run["id"] and "semantics scale" not in inside("show", other["id"], "--plain").out


def test_a_method_that_needs_attributes_refuses_whitened_ones(inside: Inside) -> None:
    answer = inside("run", "dap", *CHEAP, "--semantics-scale", "whiten")
    assert answer.status == 1
    assert answer.error() == "DAP needs attributes, and whitened class embeddings are none; see --semantics-scale"


def test_scale_on_the_command_line_wins_over_the_methods_own(inside: Inside) -> None:
    runs = [
        document(inside("run", "devise:epochs=1", *CHEAP, "--json", *more))["runs"][0]
        for more in ((), ("--scale", "none"))
    ]
    assert [run["spec"]["scale"] for run in runs] == ["zscore", "none"]
    assert runs[0]["metrics"] != runs[1]["metrics"]


def test_on_validation_scores_classes_cut_from_trainval_only(inside: Inside) -> None:
    [run] = document(inside("run", "eszsl", *CHEAP, "--on", "validation", "--json"))["runs"]
    assert run["spec"]["on"] == "validation"
    assert set(run["class_names"]) == set("0136789")  # the seen digits; 2, 4 and 5 are unseen
    assert set(run["per_class"]["u->u"]) < set("0136789")
    assert "h_cal" not in run["metrics"]
    answer = inside("run", "eszsl", *CHEAP, "--on", "validation", "--plain")
    assert "on validation classes" in answer.out.splitlines()[0]


def test_each_fold_cuts_other_validation_classes(inside: Inside) -> None:
    cuts = [
        set(
            document(inside("run", "eszsl", *CHEAP, "--on", "validation", "--fold", fold, "--json"))["runs"][0][
                "per_class"
            ]["u->u"]
        )
        for fold in range(3)
    ]
    assert len(set(map(frozenset, cuts))) > 1


def test_without_data_set_digits_is_used_and_said_in_one_line(inside: Inside) -> None:
    answer = inside("run", "eszsl", "--json")
    assert [record["spec"]["dataset"] for record in document(answer)["runs"]] == ["digits"]
    [line] = [line for line in answer.err.splitlines() if "no benchmark data set" in line]
    assert "using the embedded digits" in line


def test_a_failed_run_is_named_and_the_others_finish(inside: Inside, store: Path) -> None:
    """One SGD step of 1e38 makes the weights so large that the next loss is infinite."""
    answer = inside("compare", "devise:optimizer=sgd,lr=3e38,epochs=2", "eszsl", *CHEAP, "--plain")
    assert answer.status == 1
    last = answer.err.splitlines()[-1]
    assert last.startswith("zslbench: 1 of 2 runs failed; the others are stored. ")
    assert re.search(r"loss 'loss' became NaN or infinite at step \d+ \(epoch 1 of stage 'train'\)", last)
    assert "Traceback" not in answer.err
    [eszsl] = [line for line in answer.out.splitlines() if line.startswith("ESZSL")]
    assert "failed" not in eszsl
    assert len(snapshot(store)) == 1


def test_nan_names_the_player_that_failed(inside: Inside) -> None:
    answer = inside("run", "spaen:critic_lr=3e38,optimizer=sgd,epochs=1,hidden=8", *CHEAP)
    assert answer.status == 1
    assert "loss 'critic/" in answer.err.splitlines()[-1]


def test_debug_shows_the_traceback(inside: Inside) -> None:
    answer = inside("run", "devise:optimizer=sgd,lr=3e38,epochs=2", *CHEAP, "--debug")
    assert answer.status == 1
    assert "Traceback (most recent call last)" in answer.err
    assert answer.err.splitlines()[-1].startswith("zslbench: loss 'loss' became NaN")


def test_what_a_method_prints_or_raises_spoils_neither_the_document_nor_the_line(tmp_path: Path) -> None:
    source = """
        from zslbench import MethodCard
        def zslbench_register(registry):
            registry.method("rude", "rude_classes:Rude", MethodCard(title="Rude", paper="none"))
        """
    classes = """
from zslbench import Embedder, Params

class Rude(Embedder[Params]):
    def solve(self, view):
        print("a line of print")
        raise ValueError("first line\\nsecond line")
"""
    (tmp_path / "rude_classes.py").write_text(classes)
    answer = command("run", "rude", *CHEAP, "--json", path=distribution(tmp_path, "rude", source))
    assert answer.status == 1
    assert document(answer)["runs"] == []
    hint = "--debug shows where; `zslbench check rude` may too"
    last = answer.err.splitlines()[-1]
    assert last.startswith("zslbench: ValueError: first line (") and last.endswith(f" ({hint})")
    assert "rude_classes.py, line 7, in solve)" in last
    assert "a line of print" in answer.err.splitlines()
    assert "Traceback" not in answer.err


def test_the_json_document_holds_what_did_not_fail(inside: Inside) -> None:
    answer = inside("compare", "devise:optimizer=sgd,lr=3e38,epochs=2", "eszsl", *CHEAP, "--json")
    content = document(answer)
    assert [record["spec"]["method"] for record in content["runs"]] == ["eszsl"]
    assert "became NaN or infinite" in answer.err.splitlines()[-1]
