"""Features on disk: the same results to the bit as in memory, little memory, and nothing left behind."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outside import command
from sklearn.preprocessing import StandardScaler
from toy import same, toy_data
from toy_images import toy_image_data

from zslbench import Bench, Embedder, Member, Params, ProblemShape, ZSLData
from zslbench.api import scratch
from zslbench.api.cards import Scaling
from zslbench.api.embedder import Batch
from zslbench.api.views import TrainView
from zslbench.data.scaling import Scaler
from zslbench.discovery.plugins import registry
from zslbench.errors import UsageError
from zslbench.files import NotWritten
from zslbench.runs import memory
from zslbench.runs.fit import train
from zslbench.runs.memory import Sharers, budget, read_memory
from zslbench.runs.problem import Problem
from zslbench.training.batches import Batches
from zslbench.training.trainer import Fit

CPU = torch.device("cpu")
PLAIN = Scaling("zscore", "none")
METHODS = ["eszsl", "sae", "sync", "sync:loss=one-vs-other", "conse", "dap", "sse", "cmt-star", "devise", "spaen"]


class Pair(Embedder[Params]):
    """A closed form and one that is trained, each on features scaled for it."""

    def build(self, shape: ProblemShape) -> None:
        self.members = torch.nn.ModuleList([Member("eszsl"), Member("devise:epochs=2")])
        for member in self.members:
            member.build(shape)

    def solve(self, view: TrainView) -> None:
        for member in self.members:
            member.fit(view)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 17 of the toy problem's images, and a rest; blocks of 5."""
    monkeypatch.setattr("zslbench.api.scratch.PART", 8 * 17)
    monkeypatch.setattr("zslbench.api.scratch.BLOCK", 8 * 5)


def both(data: ZSLData, scaling: Scaling = PLAIN, fold: Any = None, setting: Any = "inductive") -> list[Problem]:
    """Returns a problem on disk, and the same in memory."""
    found = [Problem.of(data, setting, scaling, fold, allowed) for allowed in (0, 2**40)]
    assert [one.train.scratch is not None for one in found] == [True, False]
    return found


def trained(text: str, problem: Problem) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Returns the weights of a method, and its scores of the test images."""
    name, *values = text.split(":")
    method = registry().resolve("method", name, Embedder)
    given = dict(value.split("=") for value in values)
    if "epochs" in method.params_type.model_fields:
        given["epochs"] = 2
    model = train(lambda: method(method.params_type(**given)), problem, 0, Fit(CPU))
    test = problem.test
    return model.embedder.state_dict(), model.embedder.scores(problem.scale(test.x(slice(0, len(test)))), test.classes)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("parts", ["one part", "small parts"])
def test_a_method_learns_the_same_from_disk(name: str, parts: str, request: pytest.FixtureRequest) -> None:
    if parts == "small parts":
        request.getfixturevalue("small_parts")
    (state, scores), (expected, expected_scores) = (trained(name, problem) for problem in both(toy_data()))
    assert same(state, expected)
    assert torch.equal(scores, expected_scores)


@pytest.mark.parametrize("scaling", [PLAIN, Scaling("l2", "whiten"), Scaling("minmax", "l2"), Scaling("none", "none")])
@pytest.mark.parametrize("fold", [None, (1,)])
@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_what_a_method_is_shown_is_the_same(
    scaling: Scaling, fold: Any, setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zslbench.api.scratch.BLOCK", 8 * 5)
    on_disk, in_memory = (problem.train for problem in both(toy_data(), scaling, fold, setting))
    for name in ("x", "y", "semantics", "unlabelled"):
        found, expected = getattr(on_disk, name), getattr(in_memory, name)
        assert (found is expected is None) or torch.equal(found, expected)


@pytest.mark.parametrize("name", ["eszsl", "sae", "sync:lam=0.01:iterations=2000", *METHODS[3:6]])
def test_parts_add_up_to_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed form or convex problem has one solution, however the sums over images are computed."""
    data = toy_data(noise=0.5)
    whole = trained(name, Problem.of(data, "inductive", PLAIN))[1]
    monkeypatch.setattr("zslbench.api.scratch.PART", 8 * 5)
    parts = trained(name, Problem.of(replace(data), "inductive", PLAIN))[1]
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max()))


def test_statistics_of_many_features_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zslbench.api.scratch.PART", 1000)
    x = np.random.default_rng(0).gamma(2.0, 3.0, size=(3000, 6))
    x[:, 3] += 1e4
    x[:, 5] = 1 / 3
    expected, found = StandardScaler().fit(x), Scaler.fit("zscore", torch.from_numpy(x).float())
    assert found.shift.numpy() == pytest.approx(expected.mean_, rel=1e-6)
    assert found.divisor.numpy() == pytest.approx([*expected.scale_[:5], 1.0], rel=1e-4)


def drawn(view: TrainView, size: int, count: int) -> list[Batch]:
    """Returns batches, between which a loss draws as many numbers as it likes."""
    generator, found = torch.Generator().manual_seed(3), []
    for batch in Batches(view, generator, generator).draw(size, count):
        batch.rand(2)
        found.append(batch)
    return found


@pytest.mark.parametrize("size", [1, 16, 1000])
def test_batches_that_are_read_ahead_are_those_gathered_in_memory(size: int) -> None:
    views = [problem.train for problem in both(toy_data())]
    for found, expected in zip(*(drawn(view, min(size, len(view.x)), 150) for view in views), strict=True):
        assert torch.equal(found.x, expected.x)
        assert torch.equal(found.y, expected.y)


def test_crops_come_with_their_features_on_disk(tmp_path: Path) -> None:
    views = [problem.train for problem in both(toy_image_data(tmp_path, crops=10), Scaling("l2", "none"))]
    for found, expected in zip(*(drawn(view, 8, 20) for view in views), strict=True):
        assert torch.equal(found.x, expected.x)
        assert found.pixels is not None and torch.equal(found.pixels, expected.pixels)


def test_members_and_cuts_are_the_same_on_disk(small_parts: None) -> None:
    states = []
    for problem in both(toy_data(seen=9)):
        torch.manual_seed(0)
        cut = problem.train.cut()
        pair = train(lambda: Pair(Params()), problem, 0, Fit(CPU))
        states.append({**pair.embedder.state_dict(), "cut": cut.x, "left": cut.train.x, "y": cut.y})
    assert same(*states)


def test_sums_are_those_of_float64(small_parts: None) -> None:
    view = both(toy_data())[0].train
    x = view.x.numpy().astype(np.float64)
    gram, images = view.sums(lambda x, y: (x.T @ x, torch.bincount(y, minlength=len(view.classes))))
    assert gram.numpy() == pytest.approx(x.T @ x, rel=1e-12)
    assert images.tolist() == np.bincount(view.y.numpy()).tolist()
    assert [len(y) for _, y in view.parts()][:2] == [17, 17]


def test_no_file_is_left(cache: Path) -> None:
    problem = both(toy_data())[0]
    assert len(problem.train.x) and not list((cache / "scratch").iterdir())


def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, torch; from pathlib import Path; from zslbench.api.scratch import Scratch\n"
        "def parts():\n"
        "    yield torch.zeros(2**20)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Scratch(Path('scratch')).tensor((2**21,), parts())"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    assert not list((tmp_path / "scratch").iterdir())


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr("zslbench.api.scratch.TemporaryFile", lambda dir: Path("/dev/full").open("w+b"))  # noqa: SIM115
    with pytest.raises(NotWritten) as raised:
        Problem.of(toy_data(), "inductive", PLAIN, None, 0)
    message = str(raised.value)
    assert message.startswith(f"{cache / 'scratch'}") and "\n" not in message
    assert "No space left on device" in message and f"free space on the disk of {cache / 'scratch'}" in message


def test_what_a_method_writes_to_features_on_disk_reaches_no_other_fit() -> None:
    data = toy_data()
    first = Problem.of(data, "inductive", PLAIN, None, 0)
    kept = first.train.x.clone()
    first.train.x.mul_(2)
    assert torch.equal(Problem.of(data, "inductive", PLAIN, None, 0).train.x, kept)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("8GB", 8 * 10**9), ("500mb", 5 * 10**8), ("2GiB", 2**31), ("1.5 k", 1500), ("12", 12), (7, 7), ("0", 0)],
)
def test_sizes_are_read(given: Any, expected: int) -> None:
    assert read_memory(given) == expected


@pytest.mark.parametrize("given", ["1x", "", "-1", "GB", "8 GB more", -5, True, 1.5])
def test_what_is_no_size_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="give a size, such as 8GB"):
        Bench(memory=given)


def test_by_default_half_of_what_a_container_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text(f"{2**20}\n")
    monkeypatch.setattr(memory, "LIMITS", (tmp_path / "max", tmp_path / "limit", tmp_path / "absent"))
    assert budget(None, CPU) == 2**19
    assert budget(5, CPU) == 5
    assert budget(None, CPU, Sharers(machine=4)) == 2**17
    assert budget(5, CPU, Sharers(machine=4)) == 5


def test_a_run_from_disk_is_the_run_in_memory(tmp_path: Path) -> None:
    """It has the same identity, so that a stored one serves; executed anew, it has the same figures."""
    results = [
        Bench(store=tmp_path / str(allowed), memory=allowed, on_event=None).run("devise", dataset="digits", epochs=2)
        for allowed in (0, "1TB")
    ]
    on_disk, in_memory = (found[0].record for found in results)
    assert on_disk.id == in_memory.id
    assert on_disk.metrics == in_memory.metrics
    assert on_disk.validation == in_memory.validation


@pytest.mark.parametrize(("way", "value"), [("option", "1x"), ("variable", "much")])
def test_a_command_refuses_a_wrong_size_in_one_line(way: str, value: str) -> None:
    option = ["--memory", value] if way == "option" else []
    variable = {} if option else {"ZSLBENCH_MEMORY": value}
    found = command("run", "eszsl", "--dataset", "digits", *option, environment=variable)
    assert found.status == 2
    assert found.err.strip() == (
        f"zslbench: --memory {value}: give a size, such as 8GB, 500MB or 2GiB; 0 reads all features from disk"
    )


PEAK = """
import sys, threading, time
import numpy as np, torch
import zslbench.api.scratch
zslbench.api.scratch.PART = zslbench.api.scratch.BLOCK = 2**20
from zslbench import ZSLData
from zslbench.api import scratch
from zslbench.api.cards import Scaling
from zslbench.runs.fit import train
from zslbench.runs.problem import Problem
from zslbench.training.trainer import Fit
from zslbench_methods.eszsl import ESZSL
from zslbench_methods.ranking import DeViSE

most = 0
def look():
    global most
    while True:
        line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
        most = max(most, int(line.split()[1]))
        time.sleep(0.01)

x = np.load(sys.argv[1], mmap_mode="r")
y = np.arange(len(x)) % 20
random = np.random.default_rng(0)
images = np.arange(len(x))
data = ZSLData.from_arrays(
    x,
    y,
    random.random((20, 8)),
    train=images[y < 16][:-64],
    test_seen=images[y < 16][-64:],
    test_unseen=images[y >= 16],
)
threading.Thread(target=look, daemon=True).start()
time.sleep(0.1)
before = most
problem = Problem.of(data, "inductive", Scaling("zscore", "none"), None, int(sys.argv[2]))
for method in (ESZSL, DeViSE):
    params = method.params_type()
    if "epochs" in type(params).model_fields:
        params = params.model_copy(update={"epochs": 1, "batch_size": 1024})
    train(lambda: method(params), problem, 0, Fit(torch.device("cpu")))
print((most - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells private memory")
def test_features_larger_than_what_a_process_may_take(tmp_path: Path) -> None:
    """Private memory stays far below the size of the features on disk, and above it in memory."""
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (200_000, 256))
    for start in range(0, len(file), 50_000):
        file[start : start + 50_000] = np.random.default_rng(start).standard_normal((50_000, 256), dtype=np.float32)
    file.flush()
    features = 200_000 * 256 * 4 * 0.8 / 2**20
    most = {
        allowed: int(
            subprocess.run(
                [sys.executable, "-c", PEAK, str(tmp_path / "x.npy"), str(allowed)],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for allowed in (0, 2**40)
    }
    assert most[0] < 0.5 * features < features < most[2**40]


def test_the_rows_of_a_batch_are_asked_of_the_disk_and_nothing_beside_their_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = scratch.Scratch(tmp_path).tensor((50, 3000), (torch.zeros(10, 3000) for _ in range(5)))
    asked: list[tuple[int, int]] = []

    class Mapped:
        def madvise(self, advice: int, start: int, length: int) -> None:
            asked.append((start, start + length))

    monkeypatch.setattr(scratch, "_mapped", {x.data_ptr(): Mapped()})
    scratch.fetch(x, [0, 7, 49])
    for (start, end), row in zip(asked, (0, 7, 49), strict=True):
        assert start % mmap.PAGESIZE == 0 and end == (row + 1) * 12_000
        assert row * 12_000 - mmap.PAGESIZE < start <= row * 12_000
    scratch.fetch(torch.zeros(2, 2), [0, 1])  # in memory: there is nothing to ask for
    assert len(asked) == 3
