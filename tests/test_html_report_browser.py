"""The report of a sweep in a real browser, headless Chromium: what is seen at a cell, sorting,
widths and colours.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rys.html_report import write_report
from rys.sweep.results import Results, open_results
from rys.sweep.settings import Progress
from rys.sweep.store import Store
from rys.sweep.sweep_file import SweepFile
from support.simulated_sweep import write_sweep

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is missing: pip install rys[test]"
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"
)

EVIL = "</script><img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Any]:
    """Return a function that opens a file; afterwards no page may have complained or asked for
    anything else.
    """
    contexts, complaints, requests = [], [], []

    def opened(path: Path, width: int = 1200, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert len(requests) == len(contexts)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return a sweep in which candidates left and failed."""
    path = tmp_path_factory.mktemp("browser") / "s.db"
    write_sweep(path, 12, sizes=range(1, 5), with_confirmation=False)
    store = Store.open(path)
    store.set_status("search", {"0..4,3..11": "NonFiniteLogitsError: NaN logits"}, "failed")
    store.close()
    return open_results(path)


@pytest.fixture(scope="module")
def report(sweep: Results) -> Path:
    path = sweep.path.with_suffix(".html")
    write_report(sweep, path)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of all blocks of 80 layers, as another program would have measured."""
    blocks = [(i, j) for j in range(1, 81) for i in range(j)]
    rows: list[dict[str, Any]] = [{"is_baseline": True, "math_score": 0.5, "eq_score": 0.5}]
    rows += [
        {
            "dup_start": i,
            "dup_end": j,
            "math_score": 0.5 + math.sin(i) / 9,
            "eq_score": 0.5 + math.cos(j) / 9,
        }
        for i, j in blocks
    ]
    path = tmp_path_factory.mktemp("large") / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_report(open_results(path, 80), path.with_suffix(".html"))
    return path.with_suffix(".html")


def figure(value: float) -> str:
    size = f"{abs(value):.3f}"
    return ("" if float(size) == 0 else "−" if value < 0 else "+") + size  # noqa: RUF001


def facts(page: Any) -> dict[str, str]:
    """Return what the readout says, by name; "path" is its heading."""
    script = (
        "readout => [...readout.querySelectorAll('dt')]"
        ".map(name => [name.innerText, name.nextSibling.innerText])"
    )
    return dict(page.locator("#readout").evaluate(script)) | {
        "path": page.inner_text("#readout strong")
    }


def cell(page: Any, map_number: int, row: int) -> Any:
    return page.locator("#maps svg").nth(map_number).locator(f'[data-row="{row}"]')


def test_a_cell_shows_the_numbers_of_its_block(look: Any, sweep: Results, report: Path) -> None:
    page, frame = look(report), sweep.results()
    for number, probe in enumerate([None, "eq", "math"]):
        expected = sweep.results(probe).set_index("path")
        for row in (0, 7, len(frame) // 2, len(frame) - 3):
            cell(page, number, row).hover()
            shown, wanted = facts(page), expected.loc[frame["path"][row]]
            assert shown["path"] == frame["path"][row]
            assert shown["gain"] == figure(wanted["effect"])
            assert shown["95% interval"] == f"[{figure(wanted['low'])}, {figure(wanted['high'])}]"
            assert float(shown["q"].removeprefix("<")) == pytest.approx(
                max(wanted["q"], 0.001), rel=0.06
            )
            assert (shown["status"], shown["items"]) == (wanted["status"], str(wanted["n_items"]))
            assert (wanted["reason"] in page.inner_text("#readout")) or not wanted["reason"]


def test_figures_are_rounded_as_everywhere_else_in_rys(look: Any, report: Path) -> None:
    page = look(report)
    values = [k / 16 for k in range(40)] + [0.0025, 0.0035, 0.1245, 0.9995, 1e-7]
    shown = page.evaluate(
        "values => values.map(value => [fixed(value, 3), fixed(value, 1), fixed(value, 0)])", values
    )
    assert shown == [[f"{value:.3f}", f"{value:.1f}", f"{value:.0f}"] for value in values]


def test_cells_lie_at_their_start_and_end(look: Any, sweep: Results, report: Path) -> None:
    page, paths = look(report), list(sweep.results()["path"])
    boxes = {
        path: cell(page, 0, paths.index(path)).bounding_box()
        for path in ("0..5,4..11", "0..6,4..11", "0..6,5..11")
    }
    size = boxes["0..6,4..11"]["x"] - boxes["0..5,4..11"]["x"]
    assert size == pytest.approx(21, abs=6)  # block (4, 7) is right of (4, 6), and (5, 7) below it
    assert boxes["0..6,5..11"]["y"] - boxes["0..6,4..11"]["y"] == pytest.approx(size, abs=6)
    assert cell(page, 0, paths.index("0..4,3..11")).count() == 0  # it failed


def test_colours_tell_better_from_worse_and_sizes_what_could_be_chance(
    look: Any, sweep: Results, report: Path
) -> None:
    page, frame = look(report), sweep.results()
    measured = frame[frame["effect"].notna()]
    is_sure = (measured["low"] > 0) | (measured["high"] < 0)
    assert 0 < is_sure.sum() < len(measured)
    widths = {row: float(cell(page, 0, row).get_attribute("width")) for row in measured.index}
    assert {widths[row] for row in measured.index[is_sure]} == {max(widths.values())}
    assert max(widths[row] for row in measured.index[~is_sure]) < max(widths.values())
    for row in measured.index:
        classes = cell(page, 0, row).get_attribute("class")
        assert ("worse" in classes) == (measured["effect"][row] < 0)


def test_the_keyboard_moves_between_cells(look: Any, sweep: Results, report: Path) -> None:
    page, paths = look(report), list(sweep.results()["path"])
    page.focus("#filter")
    for _ in range(3):  # back over the maps
        page.keyboard.press("Shift+Tab")
    assert facts(page)["path"] == paths[0]  # the best
    i, j = page.evaluate("data.blocks[0]")
    page.keyboard.press("ArrowRight")
    assert facts(page)["path"] == f"0..{j},{i}..11"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert facts(page)["path"] == f"0..{j - 1},{i - 1}..11"
    page.keyboard.press("Escape")
    assert page.locator("#readout").is_hidden()


def test_a_touch_shows_a_cell_inside_the_screen(look: Any, sweep: Results, report: Path) -> None:
    page = look(report, width=360, has_touch=True, is_mobile=True)
    cell(page, 0, 0).tap()
    box = page.locator("#readout").bounding_box()
    assert facts(page)["path"] == sweep.results()["path"][0]
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def test_every_column_sorts_both_ways_by_value(look: Any, sweep: Results, report: Path) -> None:
    page, frame = look(report), sweep.results()
    keys = page.evaluate("data.columns.map(column => column.key)")
    assert {
        "path",
        "effect",
        "low",
        "high",
        "q",
        "n_items",
        "status",
        "reason",
        "math_difference",
    } <= set(keys)
    for number, key in enumerate(keys):
        head = page.locator("#candidates thead th").nth(number)
        orders = {}
        for _ in range(2):
            head.locator("button").click()
            drawn = page.eval_on_selector_all(
                "#candidates tbody tr", "rows => rows.map(row => Number(row.dataset.row))"
            )
            assert sorted(drawn) == list(range(len(frame)))
            values = [value for value in frame[key][drawn] if value == value and value != ""]
            assert list(frame[key][drawn[: len(values)]]) == values, f"{key}: empty ones come last"
            orders[head.get_attribute("aria-sort")] = values
        assert set(orders) == {"ascending", "descending"}
        if key not in ("path", "reason"):  # texts with numbers sort by these
            assert orders["ascending"] == sorted(orders["ascending"])
            assert orders["descending"] == sorted(orders["descending"], reverse=True)
        others = page.locator(f"#candidates thead th:not(:nth-child({number + 1}))")
        assert set(others.evaluate_all("heads => heads.map(head => head.ariaSort)")) == {"none"}


def test_headings_sort_from_the_keyboard_and_the_filter_narrows(
    look: Any, sweep: Results, report: Path
) -> None:
    page, frame = look(report), sweep.results()
    page.locator("#candidates thead button").nth(1).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert (
        page.inner_text("#candidates tbody tr:first-child th")
        == frame.loc[frame["effect"].idxmin(), "path"]
    )
    page.fill("#filter", "NaN failed")
    assert page.locator("#candidates tbody th").all_inner_texts() == ["0..4,3..11"]
    assert page.inner_text("#shown") == "1 of 1 shown"


def test_the_confirm_stage_draws_what_it_lists(
    look: Any, finished_sweep: SweepFile, tmp_path: Path
) -> None:
    write_report(finished_sweep, tmp_path / "report.html")
    page, report = look(tmp_path / "report.html"), finished_sweep.report()
    rows = [*report.top, *report.controls]
    drawn = page.locator(".confirm tbody tr")
    assert drawn.count() == len(rows)
    places = [float(drawn.nth(k).locator(".fresh").get_attribute("cx")) for k in range(len(rows))]
    effects = [row.effect for row in rows]
    assert sorted(range(len(rows)), key=places.__getitem__) == sorted(
        range(len(rows)), key=effects.__getitem__
    )
    confirmed = {row.path for row in report.top if row.confirmed}
    assert set(page.locator(".confirm tr.confirmed th").all_inner_texts()) == confirmed
    assert page.locator("#maps .mark.confirmed:not(.halo)").count() == len(confirmed)


def test_80_layers_load_and_answer_at_once(look: Any, large: Path) -> None:
    page = look(large)
    assert (
        page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 10_000
    )  # milliseconds
    assert page.locator("#maps svg").first.locator("[data-row]").count() == 3240
    assert page.locator("#candidates tbody tr").count() == 200
    for path in ("..39,20..", "..0,0..", "..79,79.."):
        row = page.evaluate("path => data.values.path.indexOf(path)", path)
        cell(page, 0, row).hover()
        assert facts(page)["path"] == path
        assert facts(page)["95% interval"] == "unknown"
    page.click("#all")
    assert page.locator("#candidates tbody tr").count() == 3240


@pytest.mark.parametrize("width", [360, 320])
def test_a_phone_scrolls_down_only(look: Any, report: Path, large: Path, width: int) -> None:
    for path in (report, large):
        page = look(path, width=width, is_mobile=True)
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_light_and_in_dark(look: Any, report: Path, scheme: str) -> None:
    page = look(report, color_scheme=scheme)
    script = """selector => {
        const colour = (element, name) =>
            getComputedStyle(element)[name].match(/[\\d.]+/g).map(Number);
        const light = (rgb) => rgb.slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
        const text = document.querySelector(selector);
        let ground = text;
        while (ground !== document.body && colour(ground, "backgroundColor")[3] === 0)
            ground = ground.parentElement;
        return [light(colour(text, "color")), light(colour(ground, "backgroundColor"))];
    }"""
    selectors = [
        "h1",
        "#verdict",
        ".overline",
        "dt",
        "code",
        "#candidates thead button",
        "td.better",
        "td.worse",
        ".why",
    ]
    for selector in selectors:
        text, ground = page.evaluate(script, selector)
        assert (ground > 0.5) == (scheme == "light"), selector
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5, selector


def test_strings_of_a_sweep_run_nowhere(look: Any, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"strategy": "scan", "with_confirmation": False}
    path = write_sweep(
        tmp_path / "evil.db", 8, sizes=[1, 2], probes=(EVIL, "eq"), model=EVIL, **quick
    )
    store = Store.open(path)
    store.set_status(
        "search", {"0,0..7": EVIL, "0..1,1..7": EVIL}, "eliminated", Progress(stopped=EVIL)
    )
    store.close()
    write_report(open_results(path), tmp_path / "evil.html")
    page = look(tmp_path / "evil.html", width=360)
    row = page.evaluate("data.values.path.indexOf('0,0..7')")
    for number in (0, 1):
        cell(page, number, row).hover()
        assert EVIL in page.inner_text("#readout")
    page.wait_for_timeout(50)
    assert page.title() == f"{EVIL}: sweep report"
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_without_scripts_the_verdict_can_be_read(look: Any, sweep: Results, report: Path) -> None:
    page = look(report, java_script_enabled=False)
    assert page.inner_text("#verdict") == sweep.report().sentence
    assert page.locator("noscript").first.is_visible()
