"""A plugin that is broken costs the user one clear line, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from outside import BUILT_IN, CHEAP, ON_IMAGES, command, distribution

import zslbench

REGISTERS = """
    from zslbench import MethodCard
    def zslbench_register(registry):
        registry.method({name!r}, {target!r}, MethodCard(title='Mine', paper='none'))
    """


def problem_of(path: Path, name: str) -> str:
    """Returns the one line that `list plugins` prints about a plugin beside the table."""
    answer = command("list", "plugins", path=path)
    assert answer.status == 0
    assert answer.err == ""
    [line] = [line for line in answer.out.splitlines() if line.startswith(f"{name} does not work: ")]
    return line.partition(" does not work: ")[2]


def methods(path: Path) -> list[str]:
    """Returns the names that `list methods` knows, which must at least be the built-in ones."""
    answer = command("list", "methods", "--json", path=path)
    assert answer.status == 0
    names = [method["name"] for method in json.loads(answer.out)]
    built_in = BUILT_IN + ON_IMAGES
    assert names[: len(built_in)] == built_in
    return names[len(built_in) :]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence found"),
        ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError: invalid syntax (broken.py, line 1)"),
    ],
)
def test_a_plugin_that_fails_to_import_is_one_line(tmp_path: Path, source: str, problem: str) -> None:
    distribution(tmp_path, "broken", source)
    assert problem_of(tmp_path, "broken:plugin") == problem
    assert methods(tmp_path) == []


def test_lists_of_other_things_point_at_the_broken_plugin(tmp_path: Path) -> None:
    distribution(tmp_path, "broken", "import a_package_that_is_not_there")
    answer = command("list", "methods", path=tmp_path)
    assert answer.err == "plugin broken:plugin does not work; see `zslbench list plugins`\n"


def test_a_method_name_taken_twice_names_both_owners_and_registers_nothing_of_the_second(tmp_path: Path) -> None:
    source = REGISTERS.format(name="mine", target="m:A") + (
        "    registry.method('eszsl', 'm:A', MethodCard(title='Mine', paper='none'))\n"
    )
    distribution(tmp_path, "second-owner", source)
    problem = problem_of(tmp_path, "second-owner:plugin")
    assert problem == "PluginError: the method name 'eszsl' is taken by plugin 'zslbench:methods'"
    assert methods(tmp_path) == []


def test_of_two_strangers_with_one_name_the_first_by_name_keeps_it(tmp_path: Path) -> None:
    for name in ("beta", "alpha"):
        distribution(tmp_path, name, REGISTERS.format(name="mine", target=f"{name}:A"))
    assert "'mine' is taken by plugin 'alpha:plugin'" in problem_of(tmp_path, "beta:plugin")
    assert methods(tmp_path) == ["mine"]


def test_a_mistyped_hook_is_refused_and_the_near_miss_suggested(tmp_path: Path) -> None:
    distribution(tmp_path, "typo", "def zslbench_run_finish(record): ...")
    problem = problem_of(tmp_path, "typo:plugin")
    assert problem.startswith("ValueError: there is no hook 'zslbench_run_finish'; did you mean 'zslbench_run_finish")


def test_a_module_without_any_hook_is_refused(tmp_path: Path) -> None:
    distribution(tmp_path, "hookless", "def zsl_bench_register(registry): ...")
    assert "it has no hook" in problem_of(tmp_path, "hookless:plugin")


def test_a_hook_with_a_wrong_argument_is_refused_and_the_argument_named(tmp_path: Path) -> None:
    distribution(tmp_path, "argument", "def zslbench_run_started(run): ...")
    problem = problem_of(tmp_path, "argument:plugin")
    assert "zslbench_run_started(run)" in problem
    assert "{'run'}" in problem


@pytest.mark.parametrize(
    ("registration", "problem"),
    [
        ("registry.method('My_Method', 'm:A', MethodCard('t', 'p'))", "'My_Method' is not lower-case"),
        ("registry.method('mine', 'no_colon', MethodCard('t', 'p'))", "target 'no_colon' is not 'module:attribute'"),
        ("registry.method('mine', 'm:A', DatasetCard('t', 'c', 'l'))", "its card is a DatasetCard, not a MethodCard"),
        ("[registry.method('mine', 'm:A', MethodCard('t', 'p')) for _ in '12']", "registers the method 'mine' twice"),
        ("registry.published(Path('nowhere.csv'))", "nowhere.csv does not exist"),
        ("registry.methods()", "has no attribute 'methods'"),
    ],
)
def test_a_wrong_registration_is_one_line(tmp_path: Path, registration: str, problem: str) -> None:
    source = f"""
        from pathlib import Path
        from zslbench import DatasetCard, MethodCard
        def zslbench_register(registry):
            {registration}
        """
    distribution(tmp_path, "wrong", source)
    assert problem in problem_of(tmp_path, "wrong:plugin")
    assert methods(tmp_path) == []


def test_a_second_entry_point_of_one_name_is_refused_and_the_first_keeps_working(tmp_path: Path) -> None:
    source = REGISTERS.format(name="mine", target="m:A") + (
        "def zslbench_commands(app):\n        app.command('hello')(lambda: print('hello'))\n"
    )
    distribution(tmp_path, "double", source, points="plugin = {module}\nplugin = {module}")
    assert "two entry points of this name" in problem_of(tmp_path, "double:plugin")
    assert methods(tmp_path) == ["mine"]
    assert command("hello", path=tmp_path).out == "hello\n"


def test_one_module_behind_two_names_is_refused_the_second_time(tmp_path: Path) -> None:
    source = REGISTERS.format(name="mine", target="m:A")
    distribution(tmp_path, "twice", source, points="one = {module}\ntwo = {module}")
    assert "the same module is registered by another entry point" in problem_of(tmp_path, "twice:two")
    assert methods(tmp_path) == ["mine"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("liar:NotAnEmbedder", "liar:NotAnEmbedder is no Embedder"),
        ("liar:Absent", "cannot be loaded from liar:Absent (AttributeError"),
        ("absent_module:Mine", "cannot be loaded from absent_module:Mine (ModuleNotFoundError"),
    ],
)
def test_a_method_that_is_no_embedder_is_one_line_when_it_is_used(tmp_path: Path, target: str, problem: str) -> None:
    source = REGISTERS.format(name="mine", target=target) + "class NotAnEmbedder: ...\n"
    distribution(tmp_path, "liar", source)
    answer = command("run", "mine", *CHEAP, path=tmp_path)
    assert answer.status == 1
    assert "method 'mine' of plugin 'liar:plugin'" in answer.error()
    assert problem in answer.error()


def test_a_run_without_data_set_passes_over_a_benchmark_that_cannot_be_loaded(tmp_path: Path) -> None:
    source = """
        from zslbench import DatasetCard
        def zslbench_register(registry):
            registry.dataset('theirs', 'absent_module:theirs', DatasetCard('Theirs', 'none', 'none'))
        """
    distribution(tmp_path, "unloadable", source)
    answer = command("run", "eszsl", "--plain", path=tmp_path)
    assert answer.status == 0
    assert "ESZSL" in answer.out
    [line] = [line for line in answer.err.splitlines() if "unloadable" in line]
    assert "data set 'theirs' of plugin 'unloadable:plugin' cannot be loaded" in line


def test_an_observer_that_raises_only_warns_and_the_next_observer_is_still_called(tmp_path: Path) -> None:
    failing = "\n".join(
        f"def zslbench_{hook}({argument}): raise ValueError('no network')"
        for hook, argument in [("run_started", "spec"), ("epoch_finished", "progress"), ("run_finished", "record")]
    )
    distribution(tmp_path, "a-failing", failing)
    log = tmp_path / "log"
    distribution(
        tmp_path,
        "b-working",
        f"def zslbench_run_finished(record): open({str(log)!r}, 'w').write(record.id)",
    )
    answer = command("run", "devise", "-p", "epochs=2", *CHEAP, "--json", path=tmp_path)
    assert answer.status == 0
    [record] = json.loads(answer.out)["runs"]
    assert log.read_text() == record["id"]
    warned = [line for line in answer.err.splitlines() if line.startswith("warning: ")]
    assert set(warned) == {
        f"warning: plugin 'a-failing:plugin': {hook} failed (ValueError: no network)"
        for hook in ("zslbench_run_started", "zslbench_epoch_finished", "zslbench_run_finished")
    }


def test_an_observer_is_told_of_a_run_that_fails_and_may_fail_itself(tmp_path: Path) -> None:
    log = tmp_path / "log"
    source = f"""
        from zslbench import Embedder, MethodCard
        class Failing(Embedder):
            def solve(self, view):
                raise ValueError("singular")
            def scores(self, x, classes):
                raise NotImplementedError
        def zslbench_register(registry):
            registry.method("failing", "observed:Failing", MethodCard(title="Failing", paper="none"))
        def zslbench_run_finished(record):
            open({str(log)!r}, "a").write("finished")
        def zslbench_run_failed(spec, error):
            open({str(log)!r}, "a").write(f"{{spec.method}} {{spec.seed}} {{type(error).__name__}}: {{error}}")
            raise OSError("disk full")
        """
    distribution(tmp_path, "observed", source)
    answer = command("run", "failing", *CHEAP, path=tmp_path)
    assert answer.status == 1
    assert "ValueError: singular" in answer.err
    assert "warning: plugin 'observed:plugin': zslbench_run_failed failed (OSError: disk full)" in answer.err
    assert log.read_text() == "failing 0 ValueError: singular"


def test_a_plugin_adds_a_command(tmp_path: Path) -> None:
    source = """
        def zslbench_commands(app):
            @app.command()
            def greet(name: str) -> None:
                '''Say hello.'''
                print('hello', name)
        """
    distribution(tmp_path, "commands", source)
    assert command("greet", "world", path=tmp_path).out == "hello world\n"
    assert "Say hello." in command("--help", path=tmp_path).out


def test_a_plugin_whose_commands_fail_leaves_the_others(tmp_path: Path) -> None:
    distribution(tmp_path, "commands", "def zslbench_commands(app): raise ValueError('no')")
    answer = command("list", "methods", "--json", path=tmp_path)
    assert answer.status == 0
    assert answer.err == "warning: plugin 'commands:plugin': zslbench_commands failed (ValueError: no)\n"


@pytest.mark.parametrize("requires", ["zslbench<0.1", "zslbench>=7,<8", "zslbench==0.0.1"])
def test_a_plugin_written_for_another_version_of_the_interfaces_is_one_line(tmp_path: Path, requires: str) -> None:
    distribution(tmp_path, "older", REGISTERS.format(name="mine", target="older:A"), requires=requires)
    problem = problem_of(tmp_path, "older:plugin")
    assert "it was written for zslbench " in problem
    assert f"and this is {zslbench.__version__}; update that plugin" in problem
    assert methods(tmp_path) == []


def test_the_method_of_a_plugin_that_does_not_work_says_why_it_is_unknown(tmp_path: Path) -> None:
    distribution(tmp_path, "older", REGISTERS.format(name="mine", target="older:A"), requires="zslbench<0.1")
    answer = command("run", "mine", *CHEAP, path=tmp_path)
    assert answer.status == 2
    assert answer.error().startswith("unknown method 'mine'")
    assert "; plugin older:plugin does not work (ValueError: it was written for zslbench <0.1, and" in answer.error()


@pytest.mark.parametrize("requires", ["zslbench>=0.1,<0.2", "zslbench[ray]", "zslbench-other<0.1", "torch<0.1"])
def test_what_a_plugin_requires_otherwise_is_the_installers_business(tmp_path: Path, requires: str) -> None:
    distribution(tmp_path, "mine", REGISTERS.format(name="mine", target="mine:A"), requires=requires)
    assert methods(tmp_path) == ["mine"]
