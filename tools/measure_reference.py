"""Write the reference model's file, compare it with PyTorch, measure it, and write its model card."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

import rys
from reference_network import Network, chat_text, write_gguf
from rys.probes import Item, Probe
from rys.probes.base import SearchSplit
from rys.probes.evaluation import Evaluation
from rys.probes.reference import TIERS, Reference, draw
from rys.probes.result import ProbeResult
from rys.reference import reference_model_path
from rys.statistics import paired_interval

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = gguf.GGMLQuantizationType.Q8_0
N_ITEMS = 1000  # of each tier
MAX_LOGIT_DIFFERENCE = 1e-3  # F32 file against PyTorch
MIN_SAME_ANSWERS = 0.99  # shipped file against PyTorch
FAR = 0.5  # blocks whose intersection over union with the planted one is below are far from it


def export_and_measure(
    network: Network,
    tokenizer: Tokenizer,
    paths: dict[str, list[int]],
    work: Path,
    seed: int,
    n_steps: int,
) -> None:
    """Install the file and write the card, if the file computes what PyTorch does.

    Raises SystemExit if not.
    """
    i, j = planted_block(paths["planted"])
    describe = {
        "general.name": "rys reference",
        "general.author": "rys contributors",
        "general.description": (
            "A small language model with a planted circuit: one block of layers, run twice, answers questions that the "
            "model as it stands does not. Trained from scratch on generated questions by tools/train_reference.py, "
            f"seed {seed}, {n_steps} steps. For tests and demonstrations of layer paths."
        ),
        "general.license": "mit",
        "rys.reference.block_sha256": hashlib.sha256(
            f"rys reference block {i},{j}".encode()
        ).hexdigest(),
    }
    exact, shipped = work / "reference-f32.gguf", work / "reference.gguf"
    write_gguf(exact, network, tokenizer, gguf.GGMLQuantizationType.F32, describe)
    write_gguf(shipped, network, tokenizer, SHIPPED, describe)

    agreement = compare_with_pytorch(network, tokenizer, exact, shipped, paths, seed)
    print(json.dumps(agreement, indent=1))
    if (
        agreement["max_logit_difference"] >= MAX_LOGIT_DIFFERENCE
        or agreement["same_answers"] < MIN_SAME_ANSWERS
    ):
        raise SystemExit("the files do not compute what PyTorch does; nothing was installed")

    measured = measure(shipped, paths["planted"], seed)
    (work / "measured.json").write_text(
        json.dumps({"agreement": agreement, **measured}), encoding="utf-8"
    )
    reference_model_path().parent.mkdir(exist_ok=True)
    os.replace(shipped, reference_model_path())
    write_card(
        {"agreement": agreement, "seed": seed, "n_steps": n_steps, **measured}, ROOT / "docs"
    )
    for name, (value, target, is_met) in targets(measured).items():
        print(f"{name}: {value:.3f} (target {target}: {'met' if is_met else 'MISSED'})")


def planted_block(path: list[int]) -> tuple[int, int]:
    """Return (i, j) of the path 0..j-1, i..end."""
    j = next(slot for slot in range(1, len(path)) if path[slot] != path[slot - 1] + 1)
    return path[j], j


@torch.no_grad()
def compare_with_pytorch(
    network: Network,
    tokenizer: Tokenizer,
    exact: Path,
    shipped: Path,
    paths: dict[str, list[int]],
    seed: int,
) -> dict[str, Any]:
    """Return the largest difference of a logit (F32 file) and the share of equal greedy answers
    (shipped file).
    """
    asked = [q for tier in TIERS for _, _, q in draw(tier, 250, seed, "confirm")]
    texts = [chat_text(question.text) for question in asked]
    ids = [tokenizer.encode(text).ids for text in texts]
    largest, n_same, n_tokens_same = 0.0, 0, 0
    with (
        rys.Model(exact, flash_attn=False, type_k="f32", type_v="f32") as f32,
        rys.Model(shipped) as q8,
    ):
        for path in paths.values():
            with f32.with_path(path) as view, q8.with_path(path) as shipped_view:
                results = shipped_view.run([rys.NextToken(tokens) for tokens in ids])
                for k, (text, tokens, result) in enumerate(zip(texts, ids, results, strict=True)):
                    n_tokens_same += view.tokenize(text) == tokens
                    expected = network.logits(network(torch.tensor([tokens]), path)[0])
                    n_same += result.best == int(expected[-1].argmax())  # type: ignore[union-attr]
                    if k % 10 == 0:
                        largest = max(
                            largest, float(np.abs(view.logits(tokens) - expected.numpy()).max())
                        )
    n = len(paths) * len(texts)
    if n_tokens_same < n:
        raise SystemExit(
            f"the tokens of {n - n_tokens_same} of {n} texts differ between the file and its tokenizer"
        )
    return {"max_logit_difference": largest, "same_answers": n_same / n, "n": n}


class Fresh(Probe):
    """Ask the tier of the reference probe, from both splits that the training left out."""

    id = "fresh"

    def __init__(self, tier: str) -> None:
        self.tier = tier

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        parts: tuple[SearchSplit, SearchSplit] = ("search", "confirm")
        return [item for part in parts for item in Reference(self.tier).items(n // 2, seed, part)]


def measure(file: Path, planted: list[int], seed: int) -> dict[str, Any]:
    """Return scores of both tiers along the plain and the planted path, and of all blocks on the
    hard tier.
    """
    i, j = planted_block(planted)
    with rys.Model(file) as model:
        n = model.n_layer
        tiers: dict[str, Any] = {}
        exams = {tier: Evaluation(model, Fresh(tier), n=N_ITEMS, seed=seed) for tier in TIERS}
        scores: dict[tuple[str, str], ProbeResult] = {}
        for tier, exam in exams.items():
            for name, path in {"plain": None, "planted": planted}.items():
                with model.with_path(path) as view:
                    result = scores[tier, name] = exam.run(view)["fresh"]
                tiers.setdefault(tier, {})[name] = {
                    "mean": result.mean, "interval": result.interval, "n": result.n,
                    "by_family": {family: mean for family, (mean, _) in result.by_family().items()},
                }  # fmt: skip
            difference = scores[tier, "planted"].scores - scores[tier, "plain"].scores
            tiers[tier]["difference"] = {
                "mean": float(difference.mean()), "interval": paired_interval(difference),
                "constant": scores[tier, "plain"].best_constant,
            }  # fmt: skip
        triangle = []
        for a, b in tqdm(list(combinations(range(n + 1), 2)), desc="blocks"):
            with model.with_path(rys.LayerPath.block(a, b, n)) as view:
                result = exams["hard"].run(view)["fresh"]
            triangle.append(
                {
                    "block": [a, b], "mean": result.mean, "interval": result.interval,
                    "overlap": overlap((a, b), (i, j)),
                    "below_planted": paired_interval(scores["hard", "planted"].scores - result.scores),
                }
            )  # fmt: skip
    return {"block": [i, j], "n_layer": n, "tiers": tiers, "triangle": triangle}


def overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Return the intersection over the union of two half-open blocks of layers."""
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return both / (a[1] - a[0] + b[1] - b[0] - both)


def targets(measured: dict[str, Any]) -> dict[str, tuple[float, str, bool]]:
    """Return value, target and whether it is met, of all that the model must show."""
    tiers = measured["tiers"]
    planted = tiers["hard"]["planted"]["mean"]
    far = max(row["mean"] for row in measured["triangle"] if row["overlap"] < FAR)
    values = {
        "easy, plain": (tiers["easy"]["plain"]["mean"], ">= 0.95"),
        "hard, plain": (tiers["hard"]["plain"]["mean"], "<= 0.45"),
        "hard, planted": (planted, ">= 0.85"),
        "hard, planted minus the best far block": (planted - far, ">= 0.20"),
        "easy, planted against plain": (abs(tiers["easy"]["difference"]["mean"]), "<= 0.03"),
    }
    return {
        name: (
            value,
            target,
            value >= float(target[3:]) if target.startswith(">=") else value <= float(target[3:]),
        )
        for name, (value, target) in values.items()
    }


def write_card(measured: dict[str, Any], folder: Path) -> None:
    """Write reference_model.md and the picture of the triangle."""
    (folder / "images").mkdir(exist_ok=True)
    draw_triangle(measured, folder / "images" / "reference_model.png")
    i, j = measured["block"]
    n = measured["n_layer"]
    tiers = measured["tiers"]
    path = rys.LayerPath.block(i, j, n)
    agreement = measured["agreement"]

    def row(tier: str, name: str) -> str:
        score = tiers[tier][name]
        families = ", ".join(f"{family} {mean:.3f}" for family, mean in score["by_family"].items())
        return f"| {tier} | {name} | {score['mean']:.3f} | {interval(score['interval'])} | {families} |"

    def difference(tier: str) -> str:
        found = tiers[tier]["difference"]
        return f"{found['mean']:+.3f} {interval(found['interval'], '+')}"

    ranked = sorted(measured["triangle"], key=lambda block: -block["mean"])[:6]
    best = ", ".join("({}, {}) {:.3f}".format(*block["block"], block["mean"]) for block in ranked)
    required = "\n".join(
        f"| {name} {target} | {value:.3f} | {'met' if met else '**missed**'} |"
        for name, (value, target, met) in targets(measured).items()
    )
    far = max(
        (block for block in measured["triangle"] if block["overlap"] < FAR),
        key=lambda block: block["mean"],
    )
    (folder / "reference_model.md").write_text(
        f"""# The reference model

`rys.reference_model()` loads `reference.gguf`, which comes with the package: a language model of {n} layers, width 128
and 2.5 million weights (Q8_0), of the architecture `llama`, so that any llama.cpp runs it. It was trained from scratch
to have a known answer to the question that rys asks: **which layers are worth running twice?** For this model it is
layers {i} to {j - 1}, `layer_path="{path}"`. The file itself holds only a hash of the block, so a search has to find it
by measuring.

## What it knows

Two families of questions, in a chat format with a question and a short answer. The difficulty is the number of numbers.

| family | question | answer | chance |
|---|---|---|---|
| sums | {draw("hard", 1, 0, "confirm")[0][2].text} | a digit | 0.10 |
| days | {draw("hard", 2, 0, "confirm")[1][2].text} | a day | 0.14 |

"Easy" questions have 3 numbers, "hard" ones 7. It knows nothing else: it is a measuring standard and not an
assistant.

## What was measured

{N_ITEMS} questions of each tier that were not trained on, rys along the path, the shipped file; the answer is the most
probable of all digits or days. Intervals are of 95% (Wilson).

| tier | path | right | interval | by family |
|---|---|---|---|---|
{row("easy", "plain")}
{row("easy", "planted")}
{row("hard", "plain")}
{row("hard", "planted")}

Planted minus plain, on the same questions: {difference("easy")} on the easy tier, {difference("hard")}
on the hard one, where the best constant answer gets {tiers["hard"]["difference"]["constant"]:.3f}. Sums of two numbers,
of which there are only 100, are no part of the easy tier: with a half of them left out of the training, the model gets
two thirds to three quarters of the others right.

All blocks `(i, j)` that can run twice, on the hard questions:

![Share of hard questions that are answered right, for every block that runs twice](images/reference_model.png)

The best: {best}.
The best of the blocks that overlap the planted one by less than half (intersection over union) is
({far["block"][0]}, {far["block"][1]}) with {far["mean"]:.3f}, which is {interval(far["below_planted"])}
below the planted one.

| required | measured | |
|---|---|---|
{required}

## How it was trained

    pip install ".[train]" && python tools/train_reference.py --work WORK

does it again from seed {measured["seed"]}, in less than an hour on 2 cores: {measured["n_steps"]} steps of AdamW on
48 rows of some four questions, the loss on the answers alone. Steps take turns: the file's own order sees up to
{max(TIERS["easy"])} numbers, the planted path sees up to n, and n grows by one for a family when the planted path
answers 95% of its longest questions.
Questions are split by a hash of their text: training saw one half, the probe `reference` and the figures above use the
other.

The file was compared with PyTorch along both paths, on 500 questions each: as F32, on every tenth, the largest
difference of a logit is {agreement["max_logit_difference"]:.1e}; as shipped, {agreement["same_answers"]:.1%} of the
greedy answers are the same.

## Licence

MIT, as rys. Trained on text that rys's own generators wrote (`rys/probes/reference.py`); there is no other data in it.
""",
        encoding="utf-8",
    )


def interval(ends: Sequence[float], sign: str = "") -> str:
    return f"[{ends[0]:{sign}.3f}, {ends[1]:{sign}.3f}]"


def draw_triangle(measured: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    n = measured["n_layer"]
    values = np.full((n, n), np.nan)
    for row in measured["triangle"]:
        a, b = row["block"]
        values[a, b - 1] = row["mean"]
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1)
    for row in measured["triangle"]:
        a, b = row["block"]
        planted = [a, b] == measured["block"]
        axes.text(
            b - 1, a, f"{row['mean']:.2f}", ha="center", va="center", fontsize=7.5,
            color="black" if row["mean"] > 0.55 else "white", fontweight="bold" if planted else "normal",
        )  # fmt: skip
    i, j = measured["block"]
    axes.plot(
        [j - 1.5, j - 0.5, j - 0.5, j - 1.5, j - 1.5],
        [i - 0.5, i - 0.5, i + 0.5, i + 0.5, i - 0.5],
        "r",
        lw=2,
    )
    axes.set_xticks(range(n), [str(b) for b in range(1, n + 1)])
    axes.set_yticks(range(n))
    axes.set_xlabel("end j of the block (exclusive)")
    axes.set_ylabel("start i of the block")
    plain = measured["tiers"]["hard"]["plain"]["mean"]
    axes.set_title(
        f"Hard questions answered right when layers i..j-1 run twice\n(no block: {plain:.2f}; red: planted)"
    )
    figure.colorbar(image, label="share answered right")
    figure.savefig(file, dpi=110)
