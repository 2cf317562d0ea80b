"""Write the reference model's file, compare it with PyTorch, measure it, and write its card."""

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


# docs/reference_model.md; every field is measured
CARD = """\
# The reference model

`rys.reference_model()` loads `reference.gguf`, which comes with the package. It is a language model
with {n_layer} layers, width 128 and 2.5 million weights (Q8_0). Its architecture is `llama`, so any
llama.cpp runs it. It was trained from scratch to have a known answer to the question that rys asks:
**which layers are worth running twice?** For this model they are layers {first} to {last},
`layer_path="{path}"`. The file itself holds only a hash of the block, so a search has to
find it by measuring.

## What it knows

It knows two families of questions, in a chat format with a short answer. Questions with more
numbers are harder.

| family | question | answer | chance |
|---|---|---|---|
| sums | {sum_question} | a digit | 0.10 |
| days | {day_question} | a day | 0.14 |

"Easy" questions have 3 numbers, "hard" ones have 7. The model knows nothing else: it is a measuring
standard, not an assistant.

## What was measured

Each tier has {n_items} questions that were not trained on. rys ran the shipped file along each
path, and the most probable digit or day counts as the answer. Intervals are 95% (Wilson).

| tier | path | right | interval | by family |
|---|---|---|---|---|
{rows}

On the same questions, planted minus plain is {easy_difference} on the easy tier and
{hard_difference} on the hard tier. The best constant answer gets {constant:.3f} on the hard tier.

Sums of two numbers are not part of the easy tier, because there are only 100 of them. With half of
them left out of the training, the model answers two thirds to three quarters of the others.

All blocks `(i, j)` that can run twice, on the hard questions:

![Share of hard questions that are answered right, for every block that runs
twice](images/reference_model.png)

The best blocks are {best}.
Of the blocks that overlap the planted one by less than half (intersection over union), the best is
{far} with {far_mean:.3f}. That is {far_below} below the planted one.

| required | measured | |
|---|---|---|
{required}

## How it was trained

```console
$ pip install ".[train]" && python tools/train_reference.py --work WORK
```

This repeats the training from seed {seed}, in less than an hour on 2 cores. It takes {n_steps}
steps of AdamW on 48 rows of about four questions each, with the loss on the answers alone. Steps
alternate between the two paths. Along the file's own order the model sees up to {n_easy} numbers,
along the planted path up to n. For each family, n grows by one when the planted path answers 95% of
its longest questions.

Questions are split by a hash of their text. The training saw one half; the probe `reference` and
the figures above use the other.

The file was compared with PyTorch along both paths, on 500 questions each. As F32, on every tenth
question, the largest difference of a logit is {max_logit_difference:.1e}. As shipped,
{same_answers:.1%} of the greedy answers are the same.

## Licence

MIT, as rys. The model was trained on text that rys's own generators wrote
(`rys/probes/reference.py`); there is no other data in it.
"""


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
            "A small language model with a planted circuit: one block of layers, run twice, "
            "answers questions that the model as it stands does not. Trained from scratch on "
            f"generated questions by tools/train_reference.py, seed {seed}, {n_steps} steps. "
            "For tests and demonstrations of layer paths."
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
            f"the tokens of {n - n_tokens_same} of {n} texts differ between the file and its "
            f"tokenizer"
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
    """Return scores of both tiers along both paths, and of all blocks on the hard tier."""
    i, j = planted_block(planted)
    with rys.Model(file) as model:
        n = model.n_layer
        tiers: dict[str, Any] = {}
        evaluations = {tier: Evaluation(model, Fresh(tier), n=N_ITEMS, seed=seed) for tier in TIERS}
        scores: dict[tuple[str, str], ProbeResult] = {}
        for tier, evaluation in evaluations.items():
            for name, path in {"plain": None, "planted": planted}.items():
                with model.with_path(path) as view:
                    result = scores[tier, name] = evaluation.run(view)["fresh"]
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
                result = evaluations["hard"].run(view)["fresh"]
            below = scores["hard", "planted"].scores - result.scores
            triangle.append(
                {
                    "block": [a, b],
                    "mean": result.mean,
                    "interval": result.interval,
                    "overlap": overlap((a, b), (i, j)),
                    "below_planted": paired_interval(below),
                }
            )
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
    found = {}
    for name, (value, target) in values.items():
        relation, limit = target.split(" ")
        is_met = value >= float(limit) if relation == ">=" else value <= float(limit)
        found[name] = (value, target, is_met)
    return found


def write_card(measured: dict[str, Any], folder: Path) -> None:
    """Write reference_model.md and the picture of the triangle."""
    (folder / "images").mkdir(exist_ok=True)
    draw_triangle(measured, folder / "images" / "reference_model.png")
    i, j = measured["block"]
    n = measured["n_layer"]
    tiers = measured["tiers"]
    agreement = measured["agreement"]

    def row(tier: str, name: str) -> str:
        score = tiers[tier][name]
        families = ", ".join(f"{family} {mean:.3f}" for family, mean in score["by_family"].items())
        ends = interval(score["interval"])
        return f"| {tier} | {name} | {score['mean']:.3f} | {ends} | {families} |"

    rows = [row(tier, name) for tier in ("easy", "hard") for name in ("plain", "planted")]

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
    card = CARD.format(
        n_layer=n,
        first=i,
        last=j - 1,
        path=rys.LayerPath.block(i, j, n),
        sum_question=draw("hard", 1, 0, "confirm")[0][2].text,
        day_question=draw("hard", 2, 0, "confirm")[1][2].text,
        n_items=N_ITEMS,
        rows="\n".join(rows),
        easy_difference=difference("easy"),
        hard_difference=difference("hard"),
        constant=tiers["hard"]["difference"]["constant"],
        best=best,
        far="({}, {})".format(*far["block"]),
        far_mean=far["mean"],
        far_below=interval(far["below_planted"]),
        required=required,
        seed=measured["seed"],
        n_steps=measured["n_steps"],
        n_easy=max(TIERS["easy"]),
        max_logit_difference=agreement["max_logit_difference"],
        same_answers=agreement["same_answers"],
    )
    (folder / "reference_model.md").write_text(card, encoding="utf-8")


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
            b - 1,
            a,
            f"{row['mean']:.2f}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="black" if row["mean"] > 0.55 else "white",  # readable on both ends of cividis
            fontweight="bold" if planted else "normal",
        )
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
        f"Hard questions answered right when layers i..j-1 run twice\n"
        f"(no block: {plain:.2f}; red: planted)"
    )
    figure.colorbar(image, label="share answered right")
    figure.savefig(file, dpi=110)
