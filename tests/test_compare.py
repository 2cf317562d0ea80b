"""Comparisons of runs. Oracles: the published table of llm-circuit-finder, and scipy."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rys.cli import main
from rys.compare import compare
from rys.errors import CompareError
from support.compare_runs import sample, write_run

DATA = Path(__file__).parents[2] / "shared" / "data" / "llm-circuit-finder"
# the table in the README of alainnothere/llm-circuit-finder (commit b94f373): base, three layers
# twice, difference
PUBLISHED = {
    ("bbh_cot_fewshot_causal_judgement", "exact_match", "get-answer"): (
        "0.5775",
        "0.6364",
        "+0.0588",
    ),
    ("bbh_cot_fewshot_date_understanding", "exact_match", "get-answer"): (
        "0.9440",
        "0.9000",
        "-0.0440",
    ),
    ("bbh_cot_fewshot_logical_deduction_five_objects", "exact_match", "get-answer"): (
        "0.7440",
        "0.7320",
        "-0.0120",
    ),
    ("bbh_cot_fewshot_navigate", "exact_match", "get-answer"): ("0.9600", "0.9440", "-0.0160"),
    ("gsm8k_cot", "exact_match", "flexible-extract"): ("0.8650", "0.8787", "+0.0136"),
    ("gsm8k_cot", "exact_match", "strict-match"): ("0.8408", "0.8704", "+0.0296"),
    ("ifeval", "inst_level_loose_acc", "none"): ("0.7446", "0.7206", "-0.0240"),
    ("ifeval", "inst_level_strict_acc", "none"): ("0.6990", "0.6595", "-0.0396"),
    ("ifeval", "prompt_level_loose_acc", "none"): ("0.6728", "0.6488", "-0.0240"),
    ("ifeval", "prompt_level_strict_acc", "none"): ("0.6229", "0.5767", "-0.0462"),
    ("mbpp", "pass_at_1", "none"): ("0.7000", "0.6700", "-0.0300"),
}
ROW = {
    "task",
    "metric",
    "n",
    "base",
    "other",
    "difference",
    "gained",
    "lost",
    "p",
    "q",
    "interval",
    "paired",
}


# the published aggregates


@pytest.mark.skipif(not DATA.is_dir(), reason="the published results are not here")
def test_the_published_table_is_reproduced():
    found = compare(DATA / "eval_base_results.json", DATA / "eval_surgery_results.json")
    rows = {
        (row.task, row.metric, row.filter): (
            f"{row.base:.4f}",
            f"{row.other:.4f}",
            f"{row.difference:+.4f}",
        )
        for row in found.rows
    }
    assert rows == PUBLISHED
    assert not any(row.paired for row in found.rows)
    assert [row.n for row in found.rows] == [
        187,
        250,
        250,
        250,
        1319,
        1319,
        541,
        541,
        541,
        541,
        500,
    ]
    # what the published table does not say: nothing in it differs by more than chance
    tested = [row for row in found.rows if not row.metric.startswith("inst_level")]
    assert all(row.q > 0.2 for row in tested)
    assert found.sentence.startswith("0 of 9 rows differ")
    assert found.sentence.endswith("2 more could not be tested.")


@pytest.mark.skipif(not DATA.is_dir(), reason="the published results are not here")
def test_the_published_table_on_the_command_line(capsys):
    files = [str(DATA / "eval_base_results.json"), str(DATA / "eval_surgery_results.json")]
    assert main(["compare", *files]) == 0
    out = capsys.readouterr().out
    assert "0.8408  0.8704     +0.0296" in out
    assert out.count("Welch (unpaired)") == 9
    assert main(["compare", *files, "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "| gsm8k_cot | exact_match,strict-match | 1319 | 0.8408 | 0.8704 | +0.0296 |" in out
    assert main(["compare", *files, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 11
    assert float(rows[0]["low"]) < float(rows[0]["difference"]) < float(rows[0]["high"])


# runs with samples


def test_paired_rows(tmp_path):
    rng = np.random.default_rng(1)
    base = (rng.random(60) < 0.5).astype(float)
    other = np.where(np.arange(60) < 12, 1.0, base)
    graded = rng.random(60)
    moved = np.clip(graded + rng.normal(0, 0.1, 60), 0, 1)
    a = write_run(tmp_path / "a", {"quiz": {"acc": base, "f_score": graded}})
    b = write_run(tmp_path / "b", {"quiz": {"acc": other, "f_score": moved}})
    found = compare(a, b)
    first, second = found.rows
    assert set(first.to_json()) >= ROW
    assert (first.n, first.gained, first.lost, first.paired) == (
        60,
        int((1 - base[:12]).sum()),
        0,
        True,
    )
    assert first.p == pytest.approx(stats.binomtest(0, first.gained).pvalue)
    assert first.difference == pytest.approx((other - base).mean())
    assert (second.test, second.paired) == ("sign flips", True)
    assert (second.gained, second.lost) == (
        int((moved > graded).sum()),
        int((moved < graded).sum()),
    )
    # of the whole distribution of sign flips the normal one is a good picture here
    differences = moved - graded
    z = differences.sum() / math.sqrt((differences**2).sum())
    assert second.p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.03)
    bootstrap = stats.bootstrap(
        (differences,), np.mean, rng=np.random.default_rng(0)
    ).confidence_interval
    assert second.interval == pytest.approx(tuple(bootstrap), abs=0.004)
    q = stats.false_discovery_control([first.p, second.p])
    assert [row.q for row in found.rows] == pytest.approx(list(q))
    assert found.to_frame()["task"].tolist() == ["quiz", "quiz"]


def test_pairing_finds_what_aggregates_cannot(tmp_path):
    base = np.array([1.0, 0.0] * 50)
    other = base.copy()
    other[1:20:2] = 1.0
    a, b = (
        write_run(tmp_path / name, {"quiz": {"acc": scores}})
        for name, scores in (("a", base), ("b", other))
    )
    assert compare(a, b).rows[0].p == pytest.approx(2 / 1024)
    for file in tmp_path.rglob("samples_*"):
        file.unlink()
    (row,) = compare(a, b).rows
    assert not row.paired
    assert row.p > 0.1


def test_the_order_of_samples_does_not_matter(tmp_path):
    scores = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    a = write_run(tmp_path / "a", {"quiz": {"acc": scores}})
    b = write_run(tmp_path / "b", {"quiz": {"acc": scores}}, order=[4, 2, 0, 1, 3])
    (row,) = compare(a, b).rows
    assert (row.paired, row.gained, row.lost, row.p) == (True, 0, 0, 1.0)


@pytest.mark.parametrize("version", ["named", "by turn", "list"])
def test_every_filter_has_its_own_row(tmp_path, version):
    strict, loose = np.array([0.0, 0.0, 1.0, 1.0] * 5), np.array([0.0, 1.0, 1.0, 1.0] * 5)
    tasks = {"gsm": {"exact_match,strict": strict, "exact_match,loose": loose}}
    better = {"gsm": {"exact_match,strict": np.ones(20), "exact_match,loose": loose}}
    a = write_run(tmp_path / "a", tasks, version=version)
    b = write_run(tmp_path / "b", better, version=version)
    rows = {row.filter: row for row in compare(a, b).rows}
    assert [(rows[name].gained, rows[name].paired) for name in ("strict", "loose")] == [
        (10, True),
        (0, True),
    ]


def test_old_and_new_samples_of_the_same_items_are_paired(tmp_path):
    # versions before 0.4.3 write no hashes; they can be made from what they do write
    scores = np.array([1.0, 0.0, 0.0, 0.0])
    a = write_run(tmp_path / "a", {"quiz": {"acc": scores}}, version="list")
    b = write_run(tmp_path / "b", {"quiz": {"acc": 1 - scores}})
    assert compare(a, b).rows[0].paired
    changed = write_run(tmp_path / "c", {"quiz": {"acc": 1 - scores}}, prompt="Please: ")
    with pytest.raises(CompareError, match="prompts of 4 items differ"):
        compare(a, changed)


def test_results_before_filters_were_named(tmp_path):
    # 0.3: no filters, and hardly more than the values; 0.4.2 on the other side
    old = {
        "results": {"quiz": {"acc": 0.25, "acc_stderr": 0.25}},
        "versions": {"quiz": 1},
        "config": {"limit": 4},
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    b = write_run(tmp_path / "b", {"quiz": {"acc": np.array([1.0, 0.0, 0.0, 1.0])}}, version="list")
    (row,) = compare(tmp_path / "old.json", b).rows
    assert (row.filter, row.base, row.other, row.test) == ("none", 0.25, 0.5, "Welch")
    z = 0.25 / math.hypot(0.25, math.sqrt(0.25 / 3))
    assert row.p == pytest.approx(2 * stats.norm.sf(z))


def test_perplexity_is_paired_by_its_own_formula(tmp_path):
    rng = np.random.default_rng(0)
    words = rng.integers(5, 200, 50).astype(float)
    base = -words * rng.uniform(2, 3, 50)
    other = base + 0.1 * words + rng.normal(0, 0.5, 50)
    a = write_run(
        tmp_path / "a", {"wiki": {"word_perplexity": np.column_stack([base, words])}}, higher=False
    )
    b = write_run(
        tmp_path / "b", {"wiki": {"word_perplexity": np.column_stack([other, words])}}, higher=False
    )
    found = compare(a, b)
    (row,) = found.rows
    assert row.base == pytest.approx(math.exp(-base.sum() / words.sum()))
    assert row.difference < 0  # the sign stays, and the row says which way is better
    assert row.lower_is_better
    assert row.paired
    assert row.gained > row.lost
    assert row.p < 0.001
    assert row.interval[0] < row.difference < row.interval[1] < 0
    assert ": 1 better, 0 worse" in found.sentence


def test_lists_of_answers_are_counted_by_answer(tmp_path):
    # as ifeval's instructions: an item has several, and the metric is the share of all of them
    base = [[True], [False, False], [True, False, True]]
    other = [[True], [True, False], [True, True, True]]
    a, b = (
        write_run(tmp_path / name, {"ifeval": {"inst_acc": s}})
        for name, s in (("a", base), ("b", other))
    )
    (row,) = compare(a, b).rows
    assert (row.base, row.other) == (pytest.approx(3 / 6), pytest.approx(5 / 6))
    assert (row.paired, row.gained, row.lost) == (True, 2, 0)


def test_scores_that_were_written_as_text_are_read(tmp_path):
    a = write_run(tmp_path / "a", {"quiz": {"acc": np.array([0.0, 1.0, 1.0])}})
    b = write_run(
        tmp_path / "b", {"quiz": {"acc": ["True", "1.0", "False"]}}, values={"acc": 2 / 3}
    )
    (row,) = compare(a, b).rows
    assert (row.paired, row.gained, row.lost) == (True, 1, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, {"a": 1}, "x", [1, 2, 3], 10**400])
def test_items_without_a_finite_score_are_not_paired(tmp_path, bad):
    a = write_run(tmp_path / "a", {"quiz": {"acc": np.array([0.0, 1.0, 1.0])}})
    b = write_run(tmp_path / "b", {"quiz": {"acc": [0.0, bad, 1.0]}}, values={"acc": math.nan})
    (row,) = compare(a, b).rows
    assert (row.paired, row.notes) == (
        False,
        ["not paired: the items' scores do not make the reported values"],
    )
    assert math.isnan(row.p)
    assert math.isnan(row.q)
    assert row.interval is None


def test_a_metric_that_items_do_not_make_is_not_paired(tmp_path):
    scores = np.array([0.0, 1.0, 1.0, 0.0])
    a = write_run(tmp_path / "a", {"quiz": {"f1": scores}}, values={"f1": 0.3}, stderr=0.03)
    b = write_run(tmp_path / "b", {"quiz": {"f1": scores}}, values={"f1": 0.4}, stderr=0.04)
    (row,) = compare(a, b).rows
    assert (row.paired, row.test, row.base) == (False, "Welch", 0.3)
    assert row.notes


def test_when_nothing_could_be_tested_that_is_said(tmp_path, capsys):
    runs = [
        str(write_run(tmp_path / name, {"quiz": {"acc": ["x", "y"]}}, values={"acc": math.nan}))
        for name in "ab"
    ]
    assert main(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert "No row could be tested." in out
    assert "rows differ" not in out


def test_markdown_shows_names_as_they_are(tmp_path, capsys):
    scores = np.array([0.0, 1.0])
    runs = [str(write_run(tmp_path / name, {r"<b>a|b\|c*_d_e": {"acc": scores}})) for name in "ab"]
    assert main(["compare", *runs, "--markdown"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "acc" in line]
    assert row.startswith(r"| \<b\>a\|b\\\|c\*\_d_e | acc,none | 2 | 0.5000 |")


# what must be the same


def refused(tmp_path: Path, **changes: object) -> str:
    """Return why two runs that differ by these changes are refused; check that --unpaired goes on
    without pairs.
    """
    scores = {"quiz": {"acc": np.array([0.0, 1.0, 1.0, 0.0, 1.0])}}
    a = write_run(tmp_path / "a", scores)
    b = write_run(tmp_path / "b", **{"tasks": scores, **changes})  # type: ignore[arg-type]
    with pytest.raises(CompareError) as error:
        compare(a, b)
    (row,) = compare(a, b, unpaired=True).rows
    assert not row.paired
    assert row.notes
    assert row.test == "Welch"
    return str(error.value)


def test_other_prompts_are_refused(tmp_path):
    assert "quiz: prompts of 5 items differ: 0, 1, 2, 3, 4, in" in refused(
        tmp_path, prompt="Question: "
    )


def test_other_questions_are_refused(tmp_path):
    message = refused(tmp_path, question="What else")
    assert "questions of 5 items differ" in message
    assert "--unpaired" in message


def test_fewer_items_are_refused(tmp_path):
    message = refused(tmp_path, tasks={"quiz": {"acc": np.array([0.0, 1.0, 1.0])}})
    assert "quiz: items 5 against 3" in message
    assert "2 items are in one run only: 3, 4" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"versions": {"quiz": 2.0}}, "task version 1 against 2"),
        ({"n-shot": {"quiz": 5}}, "n-shot 0 against 5"),
        ({"chat_template_sha": "abc"}, 'chat template none against "abc"'),
        ({"system_instruction_sha": "abc"}, 'system instruction none against "abc"'),
        (
            {"configs": {"quiz": {"generation_kwargs": {"until": ["Q"]}}}},
            "configuration generation_kwargs .* against",
        ),
    ],
)
def test_other_settings_are_refused(tmp_path, changes, message):
    assert re.search(message, refused(tmp_path, content=changes))


def test_settings_are_compared_without_samples_too(tmp_path):
    scores = {"quiz": {"acc": np.array([0.0, 1.0])}}
    a = write_run(tmp_path / "a", scores)
    b = write_run(
        tmp_path / "b", scores, content={"versions": {"quiz": 2.0}, "task_hashes": {"quiz": "f"}}
    )
    for file in tmp_path.rglob("samples_*"):
        file.unlink()
    with pytest.raises(CompareError, match="task version 1 against 2"):
        compare(a, b)
    with pytest.raises(CompareError, match='task hash "e" against "f"'):
        compare(a, b)


def test_addresses_and_the_model_are_no_settings(tmp_path):
    scores = {"quiz": {"acc": np.array([0.0, 1.0])}}
    runs = [
        write_run(
            tmp_path / name,
            scores,
            content={
                "configs": {
                    "quiz": {
                        "process_docs": f"<function docs at 0x7f{name}>",
                        "metadata": {"model": name},
                    }
                }
            },
        )
        for name in ("a", "b")
    ]
    assert compare(*runs).rows[0].paired


def test_tasks_of_one_side_are_named(tmp_path):
    scores = np.array([0.0, 1.0])
    a = write_run(tmp_path / "a", {"quiz": {"acc": scores}, "old": {"acc": scores}})
    b = write_run(
        tmp_path / "b", {"quiz": {"acc": scores, "acc_norm": scores}, "new": {"acc": scores}}
    )
    found = compare(a, b)
    assert [row.task for row in found.rows] == ["quiz"]
    assert f"only {a} has old" in found.notes
    assert f"only {b} has quiz acc_norm,none, new" in found.notes
    with pytest.raises(CompareError, match="nothing in common: old against new"):
        compare(
            write_run(tmp_path / "c", {"old": {"acc": scores}}),
            write_run(tmp_path / "d", {"new": {"acc": scores}}),
        )


def test_groups_are_rows_of_their_own_and_nothing_else_is_averaged(tmp_path):
    scores = np.array([0.0, 1.0])
    group = {"mmlu": {"alias": "mmlu", "acc,none": 0.5, "acc_stderr,none": 0.1, "sample_len": 4}}
    tasks = {"mmlu_a": {"acc": scores}, "mmlu_b": {"acc": scores}}
    a, b = (write_run(tmp_path / name, tasks, groups=group) for name in "ab")
    rows = {row.task: row for row in compare(a, b).rows}
    assert set(rows) == {"mmlu", "mmlu_a", "mmlu_b"}
    assert [rows[task].group for task in ("mmlu", "mmlu_a")] == [True, False]
    assert (rows["mmlu"].paired, rows["mmlu"].n) == (False, 4)


# folders, and several others


def test_of_several_runs_the_newest_is_taken_and_that_is_said(tmp_path):
    old, new = np.array([0.0, 0.0]), np.array([1.0, 1.0])
    a = write_run(tmp_path / "a", {"quiz": {"acc": old}})
    b = tmp_path / "b"
    write_run(
        b / "m",
        {"quiz": {"acc": old}, "other": {"acc": old}},
        date="2026-01-01T10-00-00.000001",
        name="m",
    )
    write_run(b / "m", {"quiz": {"acc": new}}, date="2026-02-01T10-00-00", name="m")
    found = compare(a, b)
    assert found.rows[0].other == 1.0
    assert any("2026-01-01" in note and "is older than" in note for note in found.notes)
    assert any("has other" in note for note in found.notes)


def test_a_folder_with_several_models_is_refused(tmp_path):
    scores = {"quiz": {"acc": np.array([0.0, 1.0])}}
    write_run(tmp_path / "all" / "one", scores, name="one")
    write_run(tmp_path / "all" / "two", scores, name="two")
    with pytest.raises(CompareError, match="several models"):
        compare(tmp_path / "all" / "one", tmp_path / "all")


def test_several_others_are_corrected_together(tmp_path):
    base = np.zeros(40)
    runs = [write_run(tmp_path / "base", {"quiz": {"acc": base}})]
    runs += [
        write_run(tmp_path / name, {"quiz": {"acc": (np.arange(40) < k).astype(float)}})
        for k, name in ((8, "x"), (4, "y"), (0, "z"))
    ]
    rows = compare(*runs).rows
    assert [row.other_name for row in rows] == [str(run) for run in runs[1:]]
    p = [2 / 2**8, 2 / 2**4, 1.0]
    assert [row.p for row in rows] == pytest.approx(p)
    assert [row.q for row in rows] == pytest.approx(list(stats.false_discovery_control(p)))


# files that are no good


def test_a_cut_line_is_named(tmp_path):
    scores = {"quiz": {"acc": np.array([0.0, 1.0, 1.0])}}
    a, b = (write_run(tmp_path / name, scores) for name in "ab")
    (samples,) = b.glob("samples_*")
    samples.write_bytes(samples.read_bytes()[:-30])
    with pytest.raises(CompareError, match="line 3: cut off or damaged"):
        compare(a, b)
    (row,) = compare(a, b, unpaired=True).rows
    assert not row.paired


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: lines[:-1], "has 2 items, but the results count 3"),
        (lambda lines: [*lines, lines[0]], "item 0 occurs twice"),
        (lambda lines: [*lines[:2], "[1]"], "line 3: not a sample"),
        (lambda lines: [*lines[:2], "\x00"], "line 3: cut off or damaged"),
        (lambda lines: [*lines[:2], "[" * 100_000], "line 3: cut off or damaged"),
        (
            lambda lines: [*lines[:2], sample(2, {"acc": 1}, read_by="odd")],
            "item 2 has filter 'odd'",
        ),
        (lambda lines: [*lines[:2], sample(2, {"acc": 1}, read_by=["odd"])], "item 2 has filter"),
        (lambda lines: [*lines[:2], sample([2], {"acc": 1})], "line 3: not a sample"),
    ],
)
def test_damaged_samples_are_refused(tmp_path, damage, message):
    scores = {"quiz": {"acc": np.array([0.0, 1.0, 1.0])}}
    a, b = (write_run(tmp_path / name, scores) for name in "ab")
    (samples,) = b.glob("samples_*")
    lines = samples.read_text().splitlines()
    samples.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in damage(lines))
        + "\n"
    )
    with pytest.raises(CompareError, match=message):
        compare(a, b)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"results": 1}',
        '{"results": {"a": 1}}',
        '{"results": {}}',
        '{"results": [1]}',
        "[" * 10_000,
        '{"results": []}',
        '{"results": {"a": {"acc,none": "x"}}}',
        "\x00\x01",
        '{"results": [{"probe": []}]}',
    ],
)
def test_files_that_are_no_results_are_refused(tmp_path, content, capsys):
    file = tmp_path / "results.json"
    file.write_text(content)
    assert main(["compare", str(file), str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"rys compare: {file} ")
    assert main(["compare", str(tmp_path), str(file)]) == 1
    assert capsys.readouterr().err.startswith("rys compare: ")


@pytest.mark.parametrize(
    "key",
    [
        "versions",
        "n-shot",
        "n-samples",
        "configs",
        "config",
        "higher_is_better",
        "groups",
        "group_subtasks",
        "task_hashes",
        "date",
        "model_name",
    ],
)
@pytest.mark.parametrize(
    "value", [None, 1, "x", [1], {"quiz": [{}]}, {"quiz": {"metric_list": 3, "effective": "5"}}]
)
def test_odd_parts_of_a_results_file_do_no_harm(tmp_path, key, value):
    scores = {"quiz": {"acc": np.array([0.0, 1.0])}}
    a = write_run(tmp_path / "a", scores)
    b = write_run(tmp_path / "b", scores, content={key: value})
    with contextlib.suppress(CompareError):
        assert compare(a, b).rows


def test_json_lines_are_refused_with_what_to_give_instead(tmp_path):
    (tmp_path / "samples_quiz.jsonl").write_text("{}\n{}\n")
    with pytest.raises(
        CompareError, match=r"is not JSON: .*; give the results\*\.json beside the samples"
    ):
        compare(tmp_path / "samples_quiz.jsonl", tmp_path)


def test_a_missing_file_is_an_error(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path, capsys):
    scores = {"qu\x1b[31miz": {"ac\x07c": np.array([0.0, 1.0])}}
    runs = [str(write_run(tmp_path / name, scores)) for name in "ab"]
    assert main(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert "quiz" in out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_json_is_strict(tmp_path, capsys):
    scores = [math.nan, 1.0]
    runs = [
        str(write_run(tmp_path / name, {"quiz": {"acc": scores}}, values={"acc": math.nan}))
        for name in "ab"
    ]
    assert main(["compare", *runs, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert set(row) >= ROW
    assert row["base"] is None
    assert row["p"] is None
    assert row["interval"] is None


def test_prompts_are_not_kept_in_memory(tmp_path):
    scores = {"quiz": {"acc": np.ones(400)}}
    runs = [str(write_run(tmp_path / name, scores, prompt="long " * 20_000)) for name in "ab"]
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.jsonl")) > 75_000_000
    script = """
import sys, resource
import numpy, scipy.stats
from rys.compare import compare
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert compare(*sys.argv[1:]).rows[0].paired
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *runs],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert int(done.stdout) < 20_000  # kilobytes
