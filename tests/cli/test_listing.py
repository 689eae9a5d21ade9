"""`list`: an entry is a line, cut at the width of a terminal and whole in a pipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from outside import Inside, command, distribution

TERMINAL = {"FORCE_COLOR": "1", "COLUMNS": "80", "NO_COLOR": "1", "TERM": "xterm"}
LISTS = ["methods", "datasets", "evaluators", "backbones", "engines", "layouts", "plugins"]
POINTER = "`zslbench describe NAME` says more"


def plain(text: str) -> list[str]:
    """Returns lines without the codes that make text bold or dim."""
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[0m"):
        text = text.replace(code, "")
    return text.splitlines()


@pytest.mark.parametrize("what", LISTS)
def test_in_a_pipe_an_entry_is_one_whole_line(inside: Inside, what: str) -> None:
    entries = json.loads(inside("list", what, "--json").out)
    answer = inside("list", what)
    _, *lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines] == [entry["name"] for entry in entries]
    for line, entry in zip(lines, entries, strict=True):
        assert entry.get("summary", entry["name"]) in line
    assert not {"\x1b", "…"} & set(answer.out)


@pytest.mark.parametrize("what", LISTS)
def test_in_a_terminal_a_line_is_cut_at_its_width(what: str) -> None:
    names = [entry["name"] for entry in json.loads(command("list", what, "--json").out)]
    _, *lines = plain(command("list", what, environment=TERMINAL).out)
    if what != "plugins":
        assert lines.pop() == POINTER
    assert [line.split()[0] for line in lines] == names
    assert max(map(len, lines)) <= 80
    if what == "methods":
        assert any("…" in line for line in lines)  # not every summary has room there


def test_in_a_wide_terminal_nothing_is_cut() -> None:
    wide = command("list", "methods", environment={**TERMINAL, "COLUMNS": "250"}).out
    assert plain(wide)[:-1] == command("list", "methods").out.splitlines()


def test_methods_show_what_they_work_on_and_their_presets(inside: Inside) -> None:
    lines = {line.split()[0]: line for line in inside("list", "methods").out.splitlines()}
    assert lines["sae"].split()[:5] == ["sae", "SAE", "features", "f2s,", "s2f"]
    assert lines["dap"].split()[:4] == ["dap", "DAP", "features", "-"]


def test_a_setting_that_is_not_the_usual_one_is_shown(tmp_path: Path) -> None:
    source = """
    from zslbench import MethodCard
    def zslbench_register(registry):
        registry.method("mine", "m:A", MethodCard("Mine", "none", setting="transductive"))
    """
    out = command("list", "methods", path=distribution(tmp_path, "mine-too", source)).out
    assert out.splitlines()[-1].split() == ["mine", "Mine", "features,", "transductive", "-", "-"]


def test_nothing_installed_is_said(inside: Inside) -> None:
    assert inside("list", "text-encoders").out == "no text-encoders are installed\n"
