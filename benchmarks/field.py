"""How much faster is a sweep than with the pipeline that people use today?

Measured: the same sweep twice, candidate by candidate in turns. On one side rys: one model that is
loaded once, and for each candidate `with_path`, one `run` of all questions, `close`. On the other
side the pipeline of the published sweeps, written anew here: for each candidate a GGUF with the
layers physically copied is written into a temporary folder (in memory where there is room, as they
do: `in_memory`), a stock `llama-server` of upstream's unpatched sources is started on it (with the
options of the published sweeps: SERVER_OPTIONS) and waited for, the questions are asked one after
the other over HTTP, the server is stopped and the file deleted. The model, the questions, the
budgets of tokens, the context with its types and the threads are the same, on the CPU; both decode
greedily. Neither marks the answers. The published sweeps look once a second whether the server is
there; this pipeline looks every 5 ms.

Why: a sweep of hundreds of candidates is what this library is for, and this is how it is done
without it.

The physical limit: the forward passes of the prompts and of the answers, which both sides have to
do. The pipeline does them one sequence at a time; rys in batches, and evaluates once what prompts
share (batching.py shows how near to the limit that comes). Writing and loading a file for each
candidate is no work that a sweep needs: `ratio_asking` is what is left of the gain if it took no
time at all.

Do the answers agree? The prompts' token ids are compared, and the answers'. They need not be equal
where two tokens are all but equally probable, since a batch adds up in another order than a single
sequence. So of each answer that differs it is told how far apart, by the path's own logits, the two
tokens are where the answers part (`largest_margin`, in nats), and beside it how far apart the two
best tokens are in the median of the first candidate's first tokens (`median_margin`). Some of these
questions are asked again, one at a time: `alone`.

JSON: `results` has `n_questions`, `n_ctx`, `max_tokens` (of each kind of question), `prompt_tokens`
(of all questions); `rys`: `seconds` (of a candidate), `load_seconds` (once a sweep),
`peak_memory_bytes` (of the whole process, with the weights that are mapped from the file; null but
on Linux), `disk_bytes`, with --profile also `profile` (what takes 1% of a candidate's time or more
outside of llama.cpp, as [function, share]); `pipeline`: the same without `load_seconds`, its memory
that of the server alone, `in_memory`, and `parts`, the share of its time that goes to `copy`,
`start`, `ask` and `stop`; `ratio` (pipeline/rys, of a candidate), `ratio_asking` (the same, of
`ask` alone), `ratio_sweep` (of all candidates together, loading included); `candidates`, of each:
`path`, `rys` and `pipeline` in seconds, `ratio` and `agreement`; and `agreement`: `prompts` (share
of the prompts with the same token ids), `answers` (share of the answers with the same tokens),
`n_answers`, `n_different`, `largest_margin`, `median_margin`, and `alone`: `n_asked` and `answers`.

    python benchmarks/field.py
    python benchmarks/field.py --reference      # the reference model, and what it was trained on
    python benchmarks/field.py --profile        # and where rys's time goes outside of llama.cpp
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import cast

import numpy as np

from measuring import (
    Report,
    argument_parser,
    digits,
    forget_peak_memory,
    listed,
    parse,
    peak_memory,
    positive,
    profiled,
    ratios,
    scratch_folder,
    spread,
    table,
    warm_page_cache,
    write_report,
)
from rys import Generate, LayerPath, Model, NextToken
from rys.engine.options import default_n_threads
from rys.export import export
from rys.probes.base import Probe
from rys.probes.eq import EQ
from rys.probes.math import Math
from rys.probes.prompter import Prompter
from rys.probes.reasoning import Reasoning
from rys.probes.reference import Reference
from rys.reference import reference_model_path
from rys.requests import GenerateResult, NextTokenResult, Result
from stock_programs import stock_program_or_exit
from stock_server import StockServer

# a kind of question, and the tokens that its answer may take
Kinds = list[tuple[Probe, int]]
PUBLISHED: Kinds = [
    (Math("original", "partial"), 48),
    (EQ("rated", "list"), 64),
    (Reasoning(format="written"), 16),
]
REFERENCE: Kinds = [(Reference(), 16)]
N_CTX = 4096
# one slot; the cache in 8 bits; and no warm-up, which would be a pass more for every candidate
SERVER_OPTIONS = [
    "--ctx-size", N_CTX, "--parallel", 1, "--n-gpu-layers", 99, "--no-warmup",
    "--flash-attn", "on", "--cache-type-k", "q8_0", "--cache-type-v", "q8_0",
]  # fmt: skip
SHARED_MEMORY = Path("/dev/shm")
N_ASKED_ALONE = 2  # of a candidate

Answer = list[int]  # tokens


@dataclass
class Ours:
    """Hold what rys did for a candidate. peak: bytes of memory."""

    seconds: float
    answers: list[Answer]
    peak: int | None


@dataclass
class Theirs:
    """Hold what the pipeline did for a candidate. parts: seconds. prompts: their tokens."""

    parts: dict[str, float]
    answers: list[Answer]
    peak: int | None
    file_bytes: int
    prompts: list[list[int]]

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


def answer(base: Model, path: LayerPath, questions: Sequence[Generate]) -> list[Result]:
    with base.with_path(path) as model:
        return model.run(questions)


def ask_rys(base: Model, path: LayerPath, questions: Sequence[Generate]) -> Ours:
    gc.collect()
    forget_peak_memory()
    start = time.perf_counter()
    results = answer(base, path, questions)
    elapsed = time.perf_counter() - start
    return Ours(elapsed, [cast(GenerateResult, result).tokens for result in results], peak_memory())


def ask_pipeline(
    program: Path,
    n_threads: int,
    folder: Path,
    model: Path,
    path: LayerPath,
    questions: Sequence[Generate],
) -> Theirs:
    copy = folder / "copy.gguf"
    times = [time.perf_counter()]
    export(model, copy, path)
    times.append(time.perf_counter())
    command = [program, *SERVER_OPTIONS, "--threads", n_threads]
    with StockServer([str(part) for part in command], copy, folder / "server.log") as server:
        times.append(time.perf_counter())
        answers = [
            server.generate(str(question.prompt), question.max_tokens or 0)
            for question in questions
        ]
        times.append(time.perf_counter())
        peak = peak_memory(server.process_id)
        prompts = [server.tokenize(str(question.prompt)) for question in questions]
        stop = time.perf_counter()
    file_bytes = copy.stat().st_size
    copy.unlink()
    parts = {
        name: b - a
        for name, a, b in zip(("copy", "start", "ask"), times[:-1], times[1:], strict=True)
    }
    return Theirs(parts | {"stop": time.perf_counter() - stop}, answers, peak, file_bytes, prompts)


def some_blocks(n_layer: int, n: int) -> list[LayerPath]:
    """Return n candidates of a sweep: blocks of 3, 4 and 5 layers that run twice, from the first
    layers to the last.
    """
    paths = []
    for size in (3, 4, 5):
        size = min(size, n_layer)
        for start in np.linspace(0, n_layer - size, -(-n // 3)).round():
            paths.append(LayerPath.block(int(start), int(start) + size, n_layer))
    return paths[:n]


def ask_as_text(model: Model, kinds: Kinds, n_items: int) -> list[Generate]:
    """Return the questions, each a text that the chat template is applied to already."""
    prompter = Prompter(model)
    asked = [
        prompter.generate(item.prompt, n) for probe, n in kinds for item in probe.items(n_items)
    ]
    rendered = [
        question.prompt
        if isinstance(question.prompt, str)
        else model.apply_chat_template(question.prompt, **question.template_variables)
        for question in asked
    ]
    return [
        Generate(text, max_tokens=question.max_tokens)
        for text, question in zip(rendered, asked, strict=True)
    ]


class Agreement:
    """Count the answers that are the same on both sides, and look into the others."""

    def __init__(self) -> None:
        self.n_prompts = self.n_same_prompts = self.n_answers = self.n_same = 0
        self.n_alone = self.n_same_alone = 0
        self.margins: list[float] = []  # where answers part
        self.usual: list[float] = []  # between the two best first tokens

    def compare(
        self, view: Model, questions: Sequence[Generate], ours: Ours, theirs: Theirs
    ) -> float:
        """Take in a candidate's answers; return the share of them that are the same."""
        prompts = [view.tokenize(str(question.prompt)) for question in questions]
        different = [
            i for i, (a, b) in enumerate(zip(ours.answers, theirs.answers, strict=True)) if a != b
        ]
        self.n_prompts += len(prompts)
        self.n_same_prompts += sum(a == b for a, b in zip(prompts, theirs.prompts, strict=True))
        self.n_answers += len(questions)
        self.n_same += len(questions) - len(different)
        for i in different:
            mine, other = ours.answers[i], theirs.answers[i]
            at = sum(takewhile(bool, (a == b for a, b in zip(mine, other, strict=False))))
            logits = next_logits(view, [[*prompts[i], *mine[:at]]])[0]
            # an answer that has no token there ended, and the token that ended it was the best one
            here = [answer[at] for answer in (mine, other) if at < len(answer)]
            self.margins.append(float(logits.max() - logits[here].min()))
        for i in different[:N_ASKED_ALONE]:
            (result,) = view.run([questions[i]])
            self.n_alone += 1
            self.n_same_alone += cast(GenerateResult, result).tokens == theirs.answers[i]
        if not self.usual:
            two_best = [np.partition(logits, -2)[-2:] for logits in next_logits(view, prompts)]
            self.usual = [float(best - second) for second, best in two_best]
        return 1 - len(different) / len(questions)

    def report(self) -> Report:
        return {
            "prompts": digits(self.n_same_prompts / self.n_prompts),
            "answers": digits(self.n_same / self.n_answers),
            "n_answers": self.n_answers,
            "n_different": self.n_answers - self.n_same,
            "largest_margin": digits(max(self.margins, default=0)),
            "median_margin": digits(statistics.median(self.usual)),
            "alone": {
                "n_asked": self.n_alone,
                "answers": digits(self.n_same_alone / self.n_alone) if self.n_alone else None,
            },
        }


def next_logits(model: Model, prompts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Return float32 [n_vocab] for each prompt."""
    return [
        cast(NextTokenResult, result).logits
        for result in model.run([NextToken(prompt) for prompt in prompts])
    ]


def main() -> None:
    parser = argument_parser(__doc__ or "", n_rounds=None)
    parser.add_argument(
        "--reference", action="store_true", help="the reference model and its own questions"
    )
    parser.add_argument("--candidates", type=positive, help="how many (default: 12)")
    parser.add_argument(
        "--items", type=positive, help="questions of each kind (default: 16, with --reference 48)"
    )
    parser.add_argument(
        "--tmpdir",
        type=Path,
        help="for the copies (default: /dev/shm if it has room, or the cache)",
    )
    parser.add_argument(
        "--profile", action="store_true", help="profile what rys does for one candidate more"
    )
    options = parse_options(parser)
    program = stock_program_or_exit("llama-server")

    warm_page_cache(options.model)
    start = time.perf_counter()
    base = Model(
        options.model,
        n_ctx=N_CTX,
        n_threads=options.n_threads,
        cache_prompt=False,
        flash_attn=True,
        type_k="q8_0",
        type_v="q8_0",
        # the server is built for the CPU alone
        n_gpu_layers=0,
        op_offload=False,
        offload_kqv=False,
    )
    load_seconds = time.perf_counter() - start
    kinds = REFERENCE if options.model == reference_model_path() else PUBLISHED
    questions = ask_as_text(base, kinds, options.items)

    ours: list[Ours] = []
    theirs: list[Theirs] = []
    candidates: list[Report] = []
    agreement = Agreement()
    with scratch_folder(options.tmpdir) as folder:
        for i, path in enumerate(some_blocks(base.n_layer, options.candidates)):
            for side in ("rys", "pipeline") if i % 2 == 0 else ("pipeline", "rys"):
                if side == "rys":
                    ours.append(ask_rys(base, path, questions))
                else:
                    theirs.append(
                        ask_pipeline(
                            program, options.n_threads, folder, options.model, path, questions
                        )
                    )
            with base.with_path(path) as view:
                share = agreement.compare(view, questions, ours[-1], theirs[-1])
            candidates.append(
                {
                    "path": str(path),
                    "rys": digits(ours[-1].seconds),
                    "pipeline": digits(theirs[-1].seconds),
                    "ratio": digits(theirs[-1].seconds / ours[-1].seconds),
                    "agreement": digits(share),
                }
            )
            print(
                ", ".join(f"{name} {value}" for name, value in candidates[-1].items()), flush=True
            )

    ours_seconds, theirs_seconds = [one.seconds for one in ours], [one.seconds for one in theirs]
    total = sum(theirs_seconds)
    parts = {
        part: digits(sum(one.parts[part] for one in theirs) / total) for part in theirs[0].parts
    }
    results: Report = {
        "n_questions": len(questions),
        "n_ctx": N_CTX,
        "max_tokens": [n for _, n in kinds],
        "prompt_tokens": sum(map(len, theirs[0].prompts)),
        "rys": {
            "seconds": spread(ours_seconds),
            "load_seconds": digits(load_seconds),
            "peak_memory_bytes": max((one.peak for one in ours if one.peak), default=None),
            "disk_bytes": 0,
        },
        "pipeline": {
            "seconds": spread(theirs_seconds),
            "parts": parts,
            "peak_memory_bytes": max((one.peak for one in theirs if one.peak), default=None),
            "disk_bytes": max(one.file_bytes for one in theirs),
            "in_memory": options.tmpdir == SHARED_MEMORY,
        },
        "ratio": spread(ratios(theirs_seconds, ours_seconds)),
        "ratio_asking": spread(ratios([one.parts["ask"] for one in theirs], ours_seconds)),
        "ratio_sweep": digits(total / (load_seconds + sum(ours_seconds))),
        "candidates": candidates,
        "agreement": agreement.report(),
    }
    if options.profile:
        profile = profiled(lambda: answer(base, some_blocks(base.n_layer, 1)[0], questions))
        print(f"of rys's time, 1% or more: {listed(profile)}")
        results["rys"]["profile"] = profile
    summarise(results)
    write_report("field", options, results)


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    options = parser.parse_args()
    if options.reference and options.model:
        parser.error("--reference brings its own model: leave out --model")
    if options.tmpdir and not options.tmpdir.is_dir():
        parser.error(f"--tmpdir is {options.tmpdir}, which is no folder")
    if options.reference:
        parser.set_defaults(model=reference_model_path())
    options = parse(parser)
    options.n_threads = options.n_threads or default_n_threads()
    options.candidates = options.candidates or (3 if options.quick else 12)
    if not options.items:
        n_items = 48 if options.reference else 16
        options.items = 2 if options.quick else n_items
    room = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    if options.tmpdir is None and room > 3 * options.model.stat().st_size:
        options.tmpdir = SHARED_MEMORY
    return options


def summarise(results: Report) -> None:
    rows = []
    for side in ("rys", "pipeline"):
        report = results[side]
        peak = report["peak_memory_bytes"]
        memory, disk = (
            f"{n / 2**20:.0f} MiB" if n is not None else "?" for n in (peak, report["disk_bytes"])
        )
        rows.append([side, report["seconds"]["median"], memory, disk])
    print(table(["", "seconds a candidate", "peak memory", "disk"], rows))
    print(
        "the pipeline's time: "
        + ", ".join(f"{part} {x:.0%}" for part, x in results["pipeline"]["parts"].items())
    )
    found = results["agreement"]
    print(
        f"pipeline/rys: {results['ratio']['median']}, a sweep {results['ratio_sweep']}, "
        f"asking alone {results['ratio_asking']['median']}; "
        f"{found['answers']:.1%} of {found['n_answers']} answers agree, "
        f"{found['n_different']} part where tokens are up to {found['largest_margin']} nats apart"
    )


if __name__ == "__main__":
    main()
