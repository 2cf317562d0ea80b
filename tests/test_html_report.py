"""The report of a sweep as a file: what is in it, what it overwrites, and that strings stay
strings.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rys.cli import main
from rys.cli import sweep as sweep_cli
from rys.errors import OutputFileError, StoreError
from rys.html_report import render, write_report
from rys.html_report.page import format_signed
from rys.next_steps import sweep_command
from rys.sweep.block_map import colour_limit
from rys.sweep.results import open_results
from rys.sweep.settings import Progress
from rys.sweep.store import Store
from rys.sweep.sweep_file import SweepFile
from support.simulated_sweep import with_field, write_sweep

EVIL = "</script><img src=x onerror=document.title='owned'>"
QUICK: dict[str, Any] = {"strategy": "scan", "with_confirmation": False}
BASE = {"is_baseline": True, "math_score": 0.5, "eq_score": 90.0}


class Page(HTMLParser):
    """Hold the tags of a page, the texts of its scripts and styles, and all other text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.cdata_elem:
            self.inside[self.cdata_elem].append(data)
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.inside["script"][0])
        return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(
        tmp_path_factory.mktemp("report") / "some.sweep.db",
        12,
        sizes=[1, 2],
        repeats=(3,),
        with_confirmation=False,
    )


@pytest.fixture(scope="module")
def page(store: Path) -> Page:
    return Page(render(open_results(store)))


def write_lines(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_page_says_what_the_sweep_says(finished_sweep: SweepFile) -> None:
    report, text = finished_sweep.report(), Page(render(finished_sweep)).text
    assert report.verdict == "confirmed"
    assert report.sentence in text
    for row in [*report.top, *report.controls]:
        assert row.path in text
        assert row.why in text
        assert format_signed(row.effect) in text
        if not math.isnan(row.search_effect):  # the search did not try every random path
            assert format_signed(row.search_effect) in text
    assert re.search(r"^seed\s*0$", text, re.MULTILINE)
    for shown in (
        report.settings.fingerprint,
        report.settings.space,
        "rys.reference_model(",
        "rys run --layer-path ",
    ):
        assert shown in text


def test_those_that_were_eliminated_are_counted(store: Path, page: Page) -> None:
    counted = re.findall(r"^(\d+)\s*eliminated after", page.text, re.MULTILINE)
    n_eliminated = (open_results(store).results()["status"] == "eliminated").sum()
    assert sum(map(int, counted)) == n_eliminated > 0


def test_data_for_the_script_are_those_of_the_frames(store: Path, page: Page) -> None:
    sweep = open_results(store)
    frame = sweep.results()
    for key, values in page.data["values"].items():
        for value, expected in zip(values, frame[key], strict=True):
            if isinstance(expected, float):
                assert (value is None) == math.isnan(expected)
                assert value is None or value == pytest.approx(expected, abs=1e-6)
            else:
                assert value == expected
    titles = [one["title"] for one in page.data["maps"]]
    assert titles == ["mean over probes", "eq", "math"]
    for one in page.data["maps"][1:]:
        expected = sweep.results(one["title"]).set_index("path").loc[frame["path"]]
        for name in ("effect", "low", "high", "q"):
            drawn = [math.nan if value is None else value for value in one[name]]
            assert drawn == pytest.approx(expected[name].tolist(), abs=1e-6, nan_ok=True)
    n_outside = sum(block is None for block in page.data["blocks"])
    assert n_outside == 12  # layers three times
    assert f"{n_outside} of the candidates are not single blocks" in page.text


def test_colours_end_where_gains_can_be_seen() -> None:
    import numpy as np

    broken = np.array([-0.5] * 30 + [0.0] * 69 + [0.02])
    assert colour_limit(broken) == pytest.approx(0.04)
    assert colour_limit(-np.abs(broken)) == pytest.approx(0.5)
    assert colour_limit(np.zeros(4)) == 1.0
    assert colour_limit(np.full(3, np.nan)) == 1.0


def test_nothing_is_loaded_and_only_the_page_s_own_script_may_run(page: Page) -> None:
    policy = next(
        attrs["content"]
        for tag, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for text in (page.inside["script"][1], page.inside["style"][0]):
        hashed = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{hashed}'" in policy
    assert not [attrs for _, attrs in page.tags if {"src", "href"} & attrs.keys()]


def test_strings_of_a_sweep_stay_strings(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path / "evil.db", 8, sizes=[1, 2], probes=(EVIL, "eq"), model=EVIL, **QUICK
    )
    opened = Store.open(path)
    progress = Progress(stopped=EVIL, preflight={EVIL: (EVIL,)})
    opened.set_status("search", {"0,0..7": EVIL}, "failed", progress)
    opened.close()
    found = Page(render(open_results(path)))
    assert {tag for tag, _ in found.tags} & {"img"} == set()
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert EVIL in found.data["values"]["reason"]
    assert found.data["maps"][1]["title"] == EVIL
    assert f"failed: {EVIL}" in found.text
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]


def test_sweeps_of_other_programs_are_shown_without_intervals(tmp_path: Path) -> None:
    rows = [BASE] + [
        {"dup_start": i, "dup_end": i + 2, "math_score": 0.5 + i / 50, "eq_score": 91}
        for i in range(6)
    ]
    found = Page(render(open_results(write_lines(tmp_path, *rows), 10)))
    assert "No path confirmed: the file has no scores of single items" in found.text
    assert "eq was measured in percent" in found.text
    assert "paired" not in found.text  # nor is what the file has no numbers for explained
    assert not re.search("Interval|Random paths", found.text)
    assert {column["key"] for column in found.data["columns"]} & {
        "low",
        "q",
        "n_items",
        "reason",
    } == set()
    assert found.data["maps"][0]["low"] == [None] * 6
    assert "rys run model.gguf --layer-path ..6,5.. --compare .." in found.text


def test_a_sweep_without_candidates_has_a_page(tmp_path: Path) -> None:
    found = Page(render(open_results(write_lines(tmp_path, BASE))))
    assert "No path confirmed" in found.text
    assert found.data["values"] == {}


@pytest.mark.parametrize(
    "line",
    [
        "model.gguf --probes math,eq --blocks --start 3 --force --budget 2h",
        "'my model.gguf' --paths ..3,2.. 0..5 --n-ctx 512 --flash-attn on --rope-freq-base 1e6",
        "--no-mmap --repeats 2 3 --skips 1 --multi 3 --interleave --top 2 --min-effect 0.2",
        "--no-confirm --thinking",
    ],
)
def test_the_command_line_repeats_the_sweep(line: str) -> None:
    parser = argparse.ArgumentParser()
    sweep_cli.add_parser(parser.add_subparsers(dest="command"))

    def parsed(words: list[str]) -> dict[str, Any]:
        found = vars(sweep_cli.with_defaults(parser.parse_args(words)))
        return {
            key: value
            for key, value in found.items()
            if key not in ("run", "defaults", "command", "store")
        }

    arguments = parsed(["sweep", *shlex.split(line), "--quiet"])
    rys, *words = shlex.split(sweep_command(arguments, "a b.db"))
    assert rys == "rys"
    assert words[-2:] == ["--store", "a b.db"]
    assert parsed([*words, "--quiet"]) == arguments


def test_the_command_writes_beside_the_file_and_again(
    store: Path, tmp_path: Path, capsys: Any
) -> None:
    copy = tmp_path / "a.sweep.db"
    copy.write_bytes(store.read_bytes())
    for _ in range(2):
        assert main(["report", str(copy)]) == 0
    assert capsys.readouterr().out.startswith(str(tmp_path / "a.sweep.html"))
    assert {path.name for path in tmp_path.iterdir()} >= {"a.sweep.db", "a.sweep.html"}
    assert not list(tmp_path.glob(".rys-report*"))


def test_other_files_are_not_overwritten_unless_forced(
    store: Path, tmp_path: Path, capsys: Any
) -> None:
    output = tmp_path / "thesis.html"
    output.write_text("years of work")
    assert main(["report", str(store), "-o", str(output)]) == 1
    assert "exists; --force" in capsys.readouterr().err
    assert output.read_text() == "years of work"
    assert main(["report", str(store), "-o", str(output), "--force"]) == 0
    assert output.read_text().startswith("<!DOCTYPE html>")


def test_the_file_of_the_sweep_is_never_overwritten(tmp_path: Path) -> None:
    path = write_lines(tmp_path, BASE)
    with pytest.raises(OutputFileError, match="is the source itself"):
        write_report(open_results(path), path, force=True)
    assert path.read_text().startswith("{")


@pytest.mark.parametrize(
    ("output", "said"), [("nowhere/report.html", "there is no directory"), (".", "is a directory")]
)
def test_a_report_that_cannot_be_written_is_told(tmp_path: Path, output: str, said: str) -> None:
    results = open_results(write_lines(tmp_path, BASE))
    with pytest.raises(OutputFileError, match=said):
        write_report(results, tmp_path / output)
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("settings", "n_layer", "many"),
        ("settings", "n_layer", 3),
        ("progress", "preflight", [1]),
        ("settings", "variant", [2]),
    ],
)
def test_a_file_that_contradicts_itself_is_told(
    tmp_path: Path, key: str, field: str, value: Any
) -> None:
    copy = write_sweep(tmp_path / "damaged.db", 6, sizes=[1], **QUICK)
    with_field(copy, key, field, value)
    with pytest.raises(StoreError, match="is damaged"):
        open_results(copy)
