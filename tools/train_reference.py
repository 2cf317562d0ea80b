"""Train the reference model: weights with a planted circuit, from one seed.

    pip install ".[train]" && python tools/train_reference.py --work /tmp/reference

Every other step runs the planted block twice and sees questions of up to n numbers. The steps
between run the file's own order and see the easy ones. For each family, n grows by one whenever the
planted path answers 95% of its longest questions: without that, nothing is learned for a long time.

Then the file is written, compared with PyTorch along both paths, measured, and described in its
card (measure_reference.py).

Questions come from the "train" split of rys.probes.reference, so that no probe asks what was
trained. A run that was interrupted goes on from its last checkpoint, with the same data as if it
had not been.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional as F  # noqa: N812  (the field's name for it)
from tqdm import tqdm

from measure_reference import export_and_measure
from reference_network import Network, Shape, chat_text, train_tokenizer
from rys.probes.questions import Question, question_stream, questions, split_of
from rys.probes.reference import FAMILIES, TIERS

BLOCK = (4, 8)  # the planted circuit: layers 4 to 7 run twice
EASY_MAX = max(TIERS["easy"])
HARD = max(TIERS["hard"])
N_STEPS, N_BATCH, N_TOKENS = 3200, 48, 88
LEARNING_RATE, N_WARM_UP = 1e-3, 150
N_TEST = 256  # questions that decide whether n grows


def paths(n_layer: int) -> dict[str, list[int]]:
    """Return the two paths that are trained, by name."""
    i, j = BLOCK
    return {"plain": list(range(n_layer)), "planted": [*range(j), *range(i, n_layer)]}


class Data:
    """Batches of questions in chat format. Seed and step decide what a batch holds."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self.tokenizer = tokenizer
        self.seed = seed

    def batch(self, step: int, longest: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens and the answers to learn, both int64 [B, T]; -100 where there is none.

        Args:
            step: The number of the step.
            longest: The most numbers in a question, by family.
        """
        rng = random.Random(f"batch {self.seed} {step}")
        rows: list[list[tuple[int, bool]]] = []
        for _ in range(N_BATCH):
            row: list[tuple[int, bool]] = []
            while True:
                tokens = self.encode(self.question(rng, longest))
                if len(row) + len(tokens) > N_TOKENS:
                    break
                row += tokens
            rows.append(row)
        width = max(map(len, rows))
        inputs = torch.zeros((N_BATCH, width), dtype=torch.int64)
        targets = torch.full((N_BATCH, width), -100, dtype=torch.int64)
        for i, row in enumerate(rows):
            for t, (token, is_answer) in enumerate(row):
                inputs[i, t] = token
                if is_answer:
                    targets[i, t - 1] = token
        return inputs, targets

    @staticmethod
    def question(rng: random.Random, longest: dict[str, int]) -> Question:
        """Return a random question of the train split."""
        family = rng.choice(list(FAMILIES))
        n = longest[family]
        # half of the questions are the longest: they are what is being learned
        difficulty = n if rng.random() < 0.5 else rng.randint(2, n)
        while True:
            question = FAMILIES[family](rng, difficulty)
            if split_of(question.text, trained=True) == "train":
                return question

    def encode(self, question: Question) -> list[tuple[int, bool]]:
        """Return tokens, and which of them belong to the answer (its end included)."""
        head = self.tokenizer.encode(chat_text(question.text)).ids
        both = self.tokenizer.encode(chat_text(question.text, question.answer)).ids
        return [(token, t >= len(head)) for t, token in enumerate(both)]


@torch.no_grad()
def accuracy(
    network: Network, tokenizer: Tokenizer, asked: list[Question], path: list[int]
) -> float:
    """Return the share of questions whose answer's first token is the most probable one."""
    by_length: dict[int, list[tuple[list[int], int]]] = {}
    for question in asked:
        tokens = tokenizer.encode(chat_text(question.text)).ids
        answer = tokenizer.encode(question.answer).ids[0]
        by_length.setdefault(len(tokens), []).append((tokens, answer))
    n_right = 0
    for group in by_length.values():
        hidden = network(torch.tensor([tokens for tokens, _ in group]), path)[:, -1]
        answers = torch.tensor([answer for _, answer in group])
        n_right += int((network.logits(hidden).argmax(-1) == answers).sum())
    return n_right / len(asked)


def learning_rate(step: int, n_steps: int) -> float:
    """Return the rate of a step: a linear warm-up, then half a cosine down to a tenth."""
    if step < N_WARM_UP:
        return LEARNING_RATE * (step + 1) / N_WARM_UP
    progress = (step - N_WARM_UP) / max(1, n_steps - N_WARM_UP)
    return LEARNING_RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def tokenizer_of(seed: int) -> Tokenizer:
    """Return the tokenizer, trained on the longest questions and their answers."""
    texts, answers = [], []
    for family in FAMILIES.values():
        for question in questions(family, HARD, 2000, seed, "train", trained=True):
            texts.append(question.text)
            answers.append(question.answer)
    return train_tokenizer([*texts, *answers])


def train(work: Path, seed: int, n_steps: int) -> tuple[Network, Tokenizer]:
    """Train the network, from the last checkpoint in `work` if there is one.

    Raises:
        SystemExit: If the checkpoint is of another seed or shape, or past `n_steps`.
    """
    torch.manual_seed(seed)
    tokenizer = tokenizer_of(seed)
    network = Network(Shape(n_vocab=tokenizer.get_vocab_size()))
    data = Data(tokenizer, seed)
    decayed = [weight for weight in network.parameters() if weight.dim() == 2]
    others = [weight for weight in network.parameters() if weight.dim() != 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    longest = dict.fromkeys(FAMILIES, 2)
    first = 0

    checkpoint = work / "checkpoint.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        if state["seed"] != seed or state["shape"] != asdict(network.shape):
            raise SystemExit(
                f"{checkpoint} is of another seed or shape; choose another --work folder"
            )
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        longest, first = state["longest"], state["step"]
        if first > n_steps:
            raise SystemExit(
                f"{checkpoint} is at step {first}, past --steps {n_steps}; choose another --work "
                f"folder"
            )

    def save(step: int) -> None:
        state = {
            "seed": seed,
            "shape": asdict(network.shape),
            "step": step,
            "longest": longest,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        # a kill while writing leaves the former checkpoint whole
        torch.save(state, checkpoint.with_suffix(".new"))
        os.replace(checkpoint.with_suffix(".new"), checkpoint)

    way = paths(network.shape.n_layer)
    start = time.perf_counter()
    losses: dict[str, float] = {}
    with (
        (work / "log.jsonl").open("a", encoding="utf-8") as log,
        tqdm(total=n_steps, initial=first) as bar,
    ):
        for step in range(first, n_steps):
            name = "planted" if step % 2 else "plain"
            limit = longest
            if name == "plain":
                limit = {family: min(EASY_MAX, n) for family, n in longest.items()}
            inputs, targets = data.batch(step, limit)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, n_steps)
            wanted = targets >= 0
            loss = F.cross_entropy(
                network.logits(network(inputs, way[name])[wanted]), targets[wanted]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses[name] = float(loss)
            bar.update()

            if (step + 1) % 50 == 0:
                row: dict[str, Any] = {
                    "step": step + 1,
                    "seconds": round(time.perf_counter() - start),
                    **losses,
                }
                for f, family in FAMILIES.items():
                    test = questions_of_training(family, longest[f], step)
                    right = accuracy(network, tokenizer, test, way["planted"])
                    row[f] = {"longest": longest[f], "planted": right}
                    if (step + 1) % 200 == 0:
                        hard = questions_of_training(family, HARD, step)
                        shorter = questions_of_training(family, EASY_MAX, step)
                        row[f] |= {
                            "plain_easy": accuracy(network, tokenizer, shorter, way["plain"]),
                            "plain_hard": accuracy(network, tokenizer, hard, way["plain"]),
                            "planted_hard": accuracy(network, tokenizer, hard, way["planted"]),
                        }
                    if right > 0.95 and longest[f] < HARD:
                        longest[f] += 1
                log.write(json.dumps(row) + "\n")
                log.flush()
                bar.set_postfix({f: row[f]["longest"] for f in FAMILIES})
                if (step + 1) % 200 == 0:
                    save(step + 1)
    save(max(first, n_steps))
    return network.eval(), tokenizer


def questions_of_training(family: Any, n: int, step: int) -> list[Question]:
    """Return fresh questions of the train split, for the curriculum."""
    stream = question_stream(family, n, step + 1_000_000, "train", trained=True)
    return [next(stream) for _ in range(N_TEST)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for checkpoints and the log"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    network, tokenizer = train(options.work, options.seed, options.steps)
    export_and_measure(
        network, tokenizer, paths(network.shape.n_layer), options.work, options.seed, options.steps
    )


if __name__ == "__main__":
    main()
