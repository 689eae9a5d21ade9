"""The report as a browser shows it: sorting, filters, curves, names of other people, and nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import Inside, inside, store

import zslbench
from zslbench import ZSLData

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (pip install 'zslbench[dev]')"
)

__all__ = ["inside", "store"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
EVIL = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield started
        started.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file in a page of its own; in the end nothing may have been asked of a network or gone wrong."""
    wrong: list[str] = []
    pages = []

    def opened(path: Path, **options: Any) -> Any:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda one: wrong.append(one.url) if not one.url.startswith(("file:", "data:")) else None)
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert wrong == []


@pytest.fixture
def report(inside: Inside, store: Path, tmp_path: Path) -> Path:
    """The report of two closed forms and of two seeds of a trained method on digits."""
    assert inside("compare", "eszsl", "sae", "devise:epochs=2", "-d", "digits", "--seeds", "2").status == 0
    path = tmp_path / "report.html"
    answer = inside("report", "--out", path)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith(f"wrote {path}: 4 runs, 0 searches, ")
    return path


def records(store: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in store.glob("runs/*/record.json")]


def column(page: Any, title: str) -> list[str]:
    """Returns what a column of the leaderboard shows, from the top; rows that a filter hides are left out."""
    heads = page.locator("table.board thead th").all_inner_texts()
    place = [head.strip(" ↑↓") for head in heads].index(title)
    rows = page.locator("table.board tbody:not([hidden]) tr:not(.comment)").all()
    return [row.locator("th, td").nth(place).inner_text().splitlines()[0] for row in rows]


def test_the_leaderboard_has_the_figures_of_the_records_and_sorts_them(
    report: Path, store: Path, show: Callable[..., Any]
) -> None:
    page = show(report)
    shown = dict(zip(column(page, "method"), column(page, "AUSUC"), strict=True))
    found: dict[str, list[float]] = {}
    for record in records(store):
        found.setdefault(record["spec"]["method"], []).append(100 * record["metrics"]["ausuc"])
    expected = {"ESZSL": found["eszsl"], "SAE": found["sae"], "DeViSE epochs=2": found["devise"]}
    for name, values in expected.items():
        deviation = f"±{np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
        assert shown[name] == f"{np.mean(values):.1f}{deviation}"

    heading = page.locator("table.board thead button", has_text="AUSUC")
    heading.click()
    order = [name for name, _ in sorted(expected.items(), key=lambda item: -np.mean(item[1]))]
    assert column(page, "method") == order
    heading.click()
    assert column(page, "method") == order[::-1]
    page.locator("table.board thead button", has_text="method").click()
    assert column(page, "method") == sorted(expected, key=str.casefold)


def test_rows_are_filtered_by_text_and_by_how_they_were_tuned(
    inside: Inside, store: Path, tmp_path: Path, show: Callable[..., Any]
) -> None:
    quick = ("--trials", "5", "--folds", "1", "--search", "epochs=1,2")
    assert inside("compare", "devise", "-d", "digits", "--seeds", "1", "--tuned", *quick).status == 0
    path = tmp_path / "both.html"
    assert inside("compare", "sae", "eszsl", "-d", "digits", "--seeds", "1").status == 0
    assert inside("report", "--out", path).out.startswith(f"wrote {path}: 3 runs, 1 search, ")
    page = show(path)
    page.locator("input[name=text]").fill("sae")
    assert column(page, "method") == ["SAE"]
    page.locator("input[name=text]").fill("")
    page.locator("select[name=parameters]").select_option("tuned")
    assert column(page, "method") == ["DeViSE (tuned)"]
    assert page.locator("output").inner_text() == "1 of 3 rows"
    [log] = [json.loads(one.read_text()) for one in store.glob("tuned/*.json")]
    assert page.locator("[data-search] canvas").count() == len(log["space"])
    tried = page.evaluate("zsl.data.sections[0].searches[0].trials.map((trial) => trial.value)")
    mean = [100 * np.mean(trial["values"]) for trial in log["trials"] if trial["state"] == "complete"]
    assert tried == pytest.approx(mean, abs=0.001)
    shown = """() => [...document.querySelectorAll("[data-search] canvas")].map((canvas) => {
      const chart = Chart.getChart(canvas), x = chart.data.datasets[0].data.map((point) => point.x);
      return [chart.scales.x.min, Math.min(...x), Math.max(...x), chart.scales.x.max, x.length];
    })"""
    page.locator("[data-search] canvas").last.scroll_into_view_if_needed()
    drawn = "() => [...document.querySelectorAll('[data-search] canvas')].every((one) => Chart.getChart(one))"
    for _ in range(100):
        if page.evaluate(drawn):
            break
        page.wait_for_timeout(50)
    for low, least, most, high, count in page.evaluate(shown):
        assert low <= least <= most <= high and count == len(mean)


def test_pointing_at_a_curve_shows_a_point_of_it(report: Path, store: Path, show: Callable[..., Any]) -> None:
    page = show(report)
    canvas = page.locator("canvas[data-chart=curves]")
    canvas.scroll_into_view_if_needed()
    page.wait_for_function("Chart.getChart(document.querySelector('canvas[data-chart=curves]'))")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#tip")
    tip.wait_for(state="visible")
    found = re.fullmatch(
        r"(.+), seed (\d)\nU->T ([\d.]+)  S->T ([\d.]+)  H ([\d.]+)\ngamma (\S+).*\nAUSUC of this run ([\d.]+)",
        tip.evaluate("tip => tip.textContent"),
        re.DOTALL,
    )
    assert found, tip.evaluate("tip => tip.textContent")
    name = {"ESZSL": "eszsl", "SAE": "sae", "DeViSE epochs=2": "devise"}[found[1]]
    ut, st, h = (float(found[k]) for k in (3, 4, 5))
    assert h == pytest.approx(2 * ut * st / (ut + st), abs=0.1)
    [record] = [r for r in records(store) if (r["spec"]["method"], r["spec"]["seed"]) == (name, int(found[2]))]
    assert float(found[7]) == pytest.approx(100 * record["metrics"]["ausuc"], abs=0.05)


def test_the_points_of_a_curve_have_the_area_of_its_record_and_mark_gamma_zero(
    report: Path, store: Path, show: Callable[..., Any]
) -> None:
    curves = show(report).evaluate("zsl.data.sections[0].curves")
    by_id = {record["id"]: record["metrics"] for record in records(store)}
    drawn = [run for row in curves for run in row["runs"]]
    assert {run["run"] for run in drawn} == set(by_id)
    for run in drawn:
        across, down, _ = np.array(run["points"], dtype=float).T
        metrics = by_id[run["run"]]
        assert np.trapezoid(down, across) / 1e4 == pytest.approx(metrics["ausuc"], abs=0.005)
        assert len(across) < 130
        assert run["zero"][:2] == pytest.approx([100 * metrics["acc_ut"], 100 * metrics["acc_st"]], abs=0.01)


def test_classes_confusions_and_losses_open_and_links_lead_to_the_run(
    report: Path, store: Path, show: Callable[..., Any], inside: Inside
) -> None:
    page = show(report)
    for part in ("classes", "confusions", "losses"):
        page.locator(f"details[data-part={part}] > summary").click()
    [sae] = [record for record in records(store) if record["spec"]["method"] == "sae"]
    tables = page.locator("[data-classes] table")
    assert tables.count() == 3
    seen = {row.split("\t")[0]: row.split("\t")[-1].strip() for row in tables.nth(2).locator("tbody").all_inner_texts()}
    assert seen == {name: f"{100 * value:.1f}" for name, value in sae["per_class"]["s->t"].items()}
    counts = page.evaluate("zsl.data.sections[0].confusions.find((one) => one.name.startsWith('SAE')).counts")
    names = sae["class_names"]
    right = {name: counts[i][i] / sum(counts[i]) for i, name in enumerate(names)}
    assert right == pytest.approx(sae["per_class"]["s->t"] | sae["per_class"]["u->t"])
    assert page.locator("table.matrix tbody tr").count() == len(names)
    assert page.locator("[data-losses] option").all_inner_texts() == [
        "DeViSE epochs=2, seed 0",
        "DeViSE epochs=2, seed 1",
    ]

    run = page.locator(f"[id='run-{sae['id']}']")
    assert not run.is_visible()
    page.locator("table.board tbody", has_text="SAE").locator("td a").first.click()
    assert run.locator("dl").is_visible()
    text = run.inner_text()
    for expected in (sae["spec"]["fingerprint"], sae["provenance"]["packages"]["torch"], sae["id"]):
        assert expected in text
    command = shlex.split(run.locator("pre.command").inner_text())
    again = inside(*command[1:], "--existing", "only-cached")
    assert again.err == "1 of 1 runs were stored already\n"


@pytest.mark.slow
def test_the_report_shows_what_a_method_on_images_made(
    inside: Inside, tmp_path: Path, show: Callable[..., Any]
) -> None:
    small = ("-d", "shapes:images_per_class=10", "-p", "epochs=1")
    assert inside("run", "spaen-image@small", *small).status == 0
    assert inside("report", "--out", tmp_path / "report.html").status == 0
    page = show(tmp_path / "report.html")
    picture = page.locator("figure.picture img")
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 500
    assert page.locator("figure.picture").inner_text().startswith("SP-AEN")


def evil_data() -> ZSLData:
    random = np.random.default_rng(0)
    attributes = random.random((6, 5)) + 0.1
    labels = np.repeat(np.arange(6), 20)
    features = attributes[labels] @ random.normal(size=(5, 8)) + 0.1 * random.normal(size=(120, 8))
    names = [EVIL, "a\u202eb", *map(str, range(2, 5)), f"{EVIL}5"]
    unseen, held_out = labels >= 4, np.arange(120) % 5 == 0
    masks = {"train": ~unseen & ~held_out, "test_seen": ~unseen & held_out, "test_unseen": unseen}
    return ZSLData.from_arrays(features, labels, attributes, **masks, class_names=names, name=f"evil {EVIL}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_of_other_people_are_text(store: Path, tmp_path: Path, show: Callable[..., Any], scheme: str) -> None:
    results = zslbench.compare(["eszsl", "sae"], dataset=evil_data(), seeds=1, on_event=None)
    path = results.save(tmp_path / "evil.html", command=f"zslbench {EVIL}")
    page = show(path, color_scheme=scheme)
    for part in page.locator("details.part > summary").all():
        part.click()
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert page.locator("img").count() == 0
    assert page.locator("h2").inner_text() == f"evil {EVIL}"
    classes = page.locator("[data-classes] tbody th").all_inner_texts()
    assert EVIL in classes and f"{EVIL}5" in classes and "a\\u202eb" in classes
    assert EVIL in page.locator("header pre").inner_text()


def test_a_narrow_page_scrolls_only_its_tables(report: Path, show: Callable[..., Any]) -> None:
    page = show(report)
    page.set_viewport_size({"width": 400, "height": 800})
    for part in page.locator("details.part > summary").all():
        part.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
