"""Run one model file along every kind of layer path, and compare with oracles.

    python tests/support/architecture_case.py MODEL UPSTREAM SCRATCH [--fast]

The oracles, in this order:

copy    upstream's unpatched llama.cpp, and rys, with the GGUF that rys.export writes for the path.
Bit for bit.
chain   where no GGUF says what the path says: the path cut into pieces, each a view of its own,
        that hand the residual stream from one to the next. Most pieces are one layer. Bit for bit,
        if the stream enters a model unchanged. A path that cannot be cut is the last piece of a
        longer one. This is about prompts as a whole, so the generation token by token is compared
        with the prompt that holds the generated tokens.

`check` is run in a process of its own for each file, since a failed assertion in a worker thread of
ggml ends one.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tools", "vendor/llama.cpp")]

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

import rys  # noqa: E402
from rys.errors import (  # noqa: E402
    CannotExpressError,
    LayerPathError,
    ModelFileError,
    UnsupportedArchitectureError,
)
from rys.export import export  # noqa: E402
from support.toys import Evaluation, Upstream  # noqa: E402

Array = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]
Kind = Literal["copy", "chain", "refused", "no oracle", "different", "crash"]

OPTIONS: dict[str, Any] = {"n_ctx": 256, "n_ubatch": 64, "n_threads": 1, "n_seq_max": 2}
TOKENS = [
    int(token) for token in np.random.default_rng(0).integers(0, 128, 150)
]  # longer than the windows of the toys
TOLERANCE = 1e-3  # of the largest value, where an oracle rounds otherwise

# What some architectures hand from layer to layer beside the residual stream, where no other check
# finds it out.
BESIDE_THE_STREAM = {"kimi-k3": "its layers read checkpoints that earlier layers left"}


@dataclass(frozen=True)
class Outcome:
    """What became of one path.

    kind: the oracle that agreed, or why there is none, or what went wrong.
    reason: of all but "copy".
    expressible: whether a GGUF says what the path says.
    hidden: whether upstream's evaluation callback saw the same hidden states after every slot; None
        if it saw none.
    """

    kind: Kind
    reason: str = ""
    expressible: bool = False
    hidden: bool | None = None


def paths(n: int) -> dict[str, list[int]]:
    """Return a path of every kind along n layers, without those that are the same.

    The file's order is the first.
    """
    order = list(range(n))
    middle, third = n // 2, n // 3
    kinds = {
        "the file's order": order,
        "first layer twice": [0, *order],
        "middle layer twice": [*order[: middle + 1], *order[middle:]],
        "last layer twice": [*order, n - 1],
        "block twice": [*order[: n - third], *order[third:]],
        "second half twice": [*order, *order[middle:]],
        "stack twice": order * 2,
        "every layer twice": [layer for layer in order for _ in range(2)],
        "without the first": order[1:],
        "without the last": order[:-1],
        "reversed": order[::-1],
        "first two twice": [0, 1, *order] if n > 1 else order,
        "first, then reversed": [0, *order[::-1]],
    }
    distinct: dict[tuple[int, ...], str] = {}
    for name, path in kinds.items():
        if path:
            distinct.setdefault(tuple(path), name)
    return {name: list(path) for path, name in distinct.items()}


FAST = ("the file's order", "middle layer twice", "stack twice", "without the last", "reversed")


# --- what is compared


def flat(results: Sequence[Any]) -> Arrays:
    """Return the numbers of a run's results as arrays."""
    arrays: Arrays = {}
    for i, result in enumerate(results):
        if isinstance(result, rys.requests.FailedRequest):
            raise result.error
        arrays[f"tokens of {i}"] = np.array(result.tokens)
        arrays[f"logprobs of {i}"] = (
            result.logprobs
            if isinstance(result, rys.requests.GenerateResult)
            else result.token_logprobs
        )
    return arrays


def generate(start: int, end: int, max_tokens: int) -> rys.Generate:
    return rys.Generate(TOKENS[start:end], max_tokens=max_tokens, logprobs=True)


STEPS: dict[str, Callable[[rys.Model], Arrays]] = {
    "prefill": lambda model: {"logits": model.logits(TOKENS)},
    "token by token": lambda model: flat(model.run([generate(0, 40, 8)])),
    "two sequences in a batch": lambda model: flat(
        model.run([generate(0, 40, 5), generate(50, 57, 5)])
    ),
    "after removing sequences": lambda model: flat(
        model.run(
            [
                *[generate(3, 20, 4), generate(10, 15, 7), generate(0, 41, 2), generate(30, 50, 3)],
                rys.LogLikelihood(TOKENS[:20], TOKENS[20:40]),
            ]
        )
    ),
    "context used again": lambda model: flat(
        model.run([generate(60, 90, 3)]) + model.run([generate(0, 40, 8)])
    ),
}


def steps(model: rys.Model) -> list[str]:
    """Return the steps that the model can do: without a KV cache it sees all tokens at once."""
    return list(STEPS) if can_generate(model) else ["prefill"]


def can_generate(model: rys.Model) -> bool:
    return bool(model._open_model.has_memory)


def observe(model: rys.Model) -> dict[str, Arrays]:
    return {step: STEPS[step](model) for step in steps(model)}


class Difference(Exception):  # noqa: N818
    """The model does not compute what its oracle computes. The message says where."""


def require_same(where: str, found: Arrays, expected: Arrays, tolerance: float = 0.0) -> None:
    """Raise Difference unless the arrays are the same, bit for bit or to a part of the largest
    value.
    """
    for name, values in expected.items():
        here = f"{where}: {name}"
        if found[name].shape != values.shape:
            raise Difference(f"{here}: shape {found[name].shape} instead of {values.shape}")
        if not np.isfinite(values).all():
            raise Difference(f"{here}: the oracle's values are not finite")
        if not np.array_equal(found[name], values):
            largest = float(np.abs(found[name] - values).max())
            if not largest <= tolerance * float(np.abs(values).max()):
                raise Difference(f"{here}: differ by up to {largest:.3g}")


def require_same_steps(
    where: str, found: dict[str, Arrays], expected: dict[str, Arrays], tolerance: float = 0.0
) -> None:
    for step, arrays in expected.items():
        require_same(f"{where}, {step}", found[step], arrays, tolerance)


# --- one file


class Case:
    """One model file, and its outcomes."""

    def __init__(self, file: Path, upstream: Upstream, scratch: Path) -> None:
        self.file = file
        self.upstream = upstream
        self.copy = scratch / f"{file.stem}-copy.gguf"
        self.base = rys.Model(file, **OPTIONS)
        self.seen: dict[str, dict[str, Arrays]] = {}  # of the views that proved right

    def refusal(self, path: list[int]) -> str:
        """Return why the file cannot be run along the path, or an empty string."""
        try:
            self.base.with_path(path).close()
        except (UnsupportedArchitectureError, LayerPathError) as error:
            return str(error)
        return ""

    @contextmanager
    def written_copy(self, path: list[int]) -> Iterator[Path]:
        """Write the GGUF of the path and remove it later. Raise CannotExpressError."""
        try:
            export(self.file, self.copy, path)
            yield self.copy
        finally:
            self.copy.unlink(missing_ok=True)

    def check(self, name: str, path: list[int]) -> Outcome:
        """Compare the view along a path with its oracle."""
        refusal, cannot, hidden = self.refusal(path), "", None
        try:
            with self.written_copy(path) as file:
                if refusal:
                    return Outcome("refused", refusal, expressible=True)
                hidden = self.check_copy(name, path, file)
        except CannotExpressError as error:
            cannot = error.reason or str(error)
            if refusal:
                return Outcome("refused", refusal)
        except (Difference, rys.RysError) as error:
            return Outcome("different", str(error), expressible=True)
        if not cannot:
            return Outcome("copy", expressible=True, hidden=hidden)
        try:
            self.check_alone(name, path)
            self.check_decode(path)
            self.check_chain(path)
        except NoChain as reason:
            return Outcome("no oracle", f"{cannot}; {reason}")
        except (Difference, rys.RysError) as error:
            return Outcome("different", str(error))
        return Outcome("chain", cannot)

    def check_copy(self, name: str, path: list[int], file: Path) -> bool | None:
        """Compare with the physical copy; return whether the hidden states were compared too."""
        try:
            computed = self.upstream.evaluate(file, TOKENS)
        except RuntimeError as error:
            raise CannotExpressError("llama.cpp aborts with the copy") from error
        with self.base.with_path(path) as view:
            hidden = self.check_upstream(view, computed)
            with rys.Model(file, **OPTIONS) as copy:
                expected = observe(copy)
            require_same_steps("view and copy", observe(view), expected)
        self.seen[name] = expected
        self.check_alone(name, path)
        return hidden

    def check_alone(self, name: str, path: list[int]) -> None:
        """Check that a view computes the same when the model that it was made from is closed."""
        base = rys.Model(self.file, **OPTIONS)
        with base.with_path(path) as view:
            base.close()
            found = observe(view)
        if name not in self.seen:
            with self.base.with_path(path) as view:
                self.seen[name] = observe(view)
        require_same_steps("base closed first", found, self.seen[name])

    def check_upstream(self, view: rys.Model, expected: Evaluation) -> bool | None:
        """Compare logits and hidden states with those of upstream's unpatched llama.cpp."""
        logits, hidden = view._session.evaluate(tokens=TOKENS, logits=True, hidden=True)
        require_same("upstream's llama.cpp", {"logits": logits}, {"logits": expected.logits})
        compared = None
        for slot in range(view.n_slot):
            if (output := expected.layer_output(slot)) is not None:
                if "gemma3n" in self.file.name:  # lies stream by stream in memory
                    output = np.swapaxes(output.reshape(-1, len(TOKENS), view.n_embd), 0, 1)
                compared = True
                require_same(
                    "upstream's evaluation callback",
                    {f"output of slot {slot}": hidden[slot + 1]},
                    {f"output of slot {slot}": output.reshape(len(TOKENS), -1)},
                )
        return compared

    def check_order(self) -> Outcome:
        """Compare the view along the file's own order with the model without a path, and that with
        upstream's.
        """
        try:
            hidden = self.check_upstream(self.base, self.upstream.evaluate(self.file, TOKENS))
            self.seen["no path"] = observe(self.base)
            with self.base.with_path(list(range(self.base.n_layer))) as view:
                require_same_steps("view and no path", observe(view), self.seen["no path"])
        except (Difference, rys.RysError) as error:
            return Outcome("different", str(error), expressible=True)
        return Outcome("copy", expressible=True, hidden=hidden)

    def check_turns(self, along: dict[str, list[int]]) -> Outcome:
        """Check that three views that take turns disturb each other in nothing."""
        names = [name for name in self.seen if name != "no path"][-2:]
        views = {name: self.base.with_path(along[name]) for name in names} | {"no path": self.base}
        try:
            for step in steps(self.base):
                for name, view in views.items():
                    require_same(
                        f"{name}, {step}, in turns", STEPS[step](view), self.seen[name][step]
                    )
        except (Difference, rys.RysError) as error:
            return Outcome("different", str(error))
        return Outcome("copy")

    # --- the second oracle

    def check_decode(self, path: list[int]) -> None:
        """Check that what is generated token by token has the probabilities that the whole prompt
        gives it.
        """
        if not can_generate(self.base):
            return
        with self.base.with_path(path) as view:
            result = view.run([generate(0, 40, 8)])[0]
            logits, _ = view._session.evaluate(tokens=TOKENS[:40] + result.tokens, logits=True)
        rows = logits[39:-1].astype(np.float64)  # [n generated, V]
        expected = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        expected = expected[range(len(result.tokens)), result.tokens].astype(np.float32)
        require_same(
            "prompt and generation",
            {"logprobs": result.logprobs},
            {"logprobs": expected},
            TOLERANCE,
        )

    def check_chain(
        self, path: list[int], pieces: list[list[int]] | None = None, tokens: list[int] = TOKENS
    ) -> None:
        """Compare with pieces that hand on the residual stream. Raise NoChain if that is not
        possible.

        pieces: of the path; None = as small as they can be.
        """
        logits, hidden = self.base._session.evaluate(tokens=tokens, logits=True, hidden=True)
        enter, exact = self.entry(hidden[0], logits)
        pieces = pieces or self.cut(path)
        if len(pieces) == 1:
            pieces = self.extended(path)
            path = [*pieces[0], *path]
        tolerance = 0.0 if exact else TOLERANCE
        with self.base.with_path(path) as view:
            expected_logits, expected = view._session.evaluate(
                tokens=tokens, logits=True, hidden=True
            )
        stream, slot = hidden[0], 0
        for piece in pieces:
            with self.base.with_path(piece) as view:
                logits, hidden = view._session.evaluate(
                    embd=enter(stream), logits=True, hidden=True
                )
            after = {"hidden states": expected[slot + 1 : slot + len(piece) + 1]}
            require_same(
                f"chain, slots from {slot} on", {"hidden states": hidden[1:]}, after, tolerance
            )
            stream, slot = hidden[-1], slot + len(piece)
        require_same("chain", {"logits": logits}, {"logits": expected_logits}, tolerance)

    def entry(self, stream: Array, logits: Array) -> tuple[Callable[[Array], Array], bool]:
        """Return what turns a residual stream into the input that becomes it, and whether it does
        so without rounding.

        Builders may multiply what they are given or add to it; anything else raises NoChain.
        """
        if stream.shape[1] != self.base.n_embd:
            n_streams = stream.shape[1] // self.base.n_embd
            raise NoChain(f"its residual stream is {n_streams} streams, made at the entry")
        architecture = self.base.metadata["general.architecture"]
        if architecture in BESIDE_THE_STREAM:
            raise NoChain(BESIDE_THE_STREAM[architecture])

        def becomes(given: Array) -> Array:
            return np.asarray(self.base._session.evaluate(embd=given, hidden=True)[1][0])

        added = becomes(np.zeros_like(stream))
        factor = np.float32(
            np.median((becomes(stream) - added) / np.where(stream == 0, np.inf, stream))
        )

        def enter(given: Array) -> Array:
            return np.asarray((given - added) / factor)

        if factor == 0 or not np.allclose(becomes(enter(stream)), stream, rtol=1e-4, atol=1e-6):
            raise NoChain("it normalises what it is given")
        exact = bool(np.frexp(factor)[0] == 0.5 and not added.any())  # a power of two
        again, _ = self.base._session.evaluate(embd=enter(stream), logits=True)
        try:
            require_same("", {"logits": again}, {"logits": logits}, 0.0 if exact else TOLERANCE)
        except Difference:
            raise NoChain("its layers read more than the residual stream") from None
        return enter, exact

    def cut(self, path: list[int]) -> list[list[int]]:
        """Cut a path into as many pieces as possible that can be run each."""
        best: list[list[list[int]] | None] = [[]]
        for end in range(1, len(path) + 1):
            options = [
                [*pieces, path[start:end]]
                for start, pieces in enumerate(best)
                if pieces is not None and not self.refusal(path[start:end])
            ]
            best.append(max(options, key=len, default=None))
        return best[-1] or [path]

    def extended(self, path: list[int]) -> list[list[int]]:
        """Return one layer and then the path, as pieces of a longer path, of one that has a copy if
        there is such.
        """
        longer = [[layer, *path] for layer in range(self.base.n_layer)]
        possible = [
            whole for whole in longer if not self.refusal(whole[:1]) and not self.refusal(whole)
        ]
        if not possible:
            raise NoChain("it cannot be the last piece of a longer path")
        for whole in possible:
            try:
                with self.written_copy(whole) as file, self.base.with_path(whole) as view:
                    self.check_upstream(view, self.upstream.evaluate(file, TOKENS))
            except (CannotExpressError, RuntimeError):
                continue
            return [whole[:1], path]
        return [possible[0][:1], path]


class NoChain(Exception):  # noqa: N818
    """The residual stream cannot be handed from one view to another."""


def check(file: Path, upstream: Upstream, scratch: Path, fast: bool = False) -> dict[str, Outcome]:
    """Return the outcome of every path along a file. fast: of a few paths."""
    try:
        case = Case(file, upstream, scratch)
    except ModelFileError as error:
        return {"the file's order": Outcome("refused", str(error))}
    along = {
        name: path for name, path in paths(case.base.n_layer).items() if not fast or name in FAST
    }
    outcomes = {
        name: case.check(name, path) for name, path in along.items() if name != "the file's order"
    }
    return {
        "the file's order": case.check_order(),
        **outcomes,
        "three views in turns": case.check_turns(along),
    }


def check_in_process(
    file: Path, upstream: Upstream, scratch: Path, fast: bool = False
) -> dict[str, Outcome]:
    """Return what `check` returns, from a process of its own."""
    command = [
        sys.executable,
        __file__,
        str(file),
        str(upstream.folder),
        str(scratch),
        *(["--fast"] if fast else []),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return {"all": Outcome("crash", f"exit code {result.returncode}: {result.stderr[-2000:]}")}
    return {
        name: Outcome(**fields)
        for name, fields in json.loads(result.stdout.splitlines()[-1]).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare a model along layer paths with oracles.")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "upstream", type=Path, help="folder of the programs that tests/support/toys.py builds"
    )
    parser.add_argument("scratch", type=Path, help="folder for copies")
    parser.add_argument("--fast", action="store_true", help="only a few paths")
    options = parser.parse_args()
    logging.getLogger("rys").setLevel(logging.CRITICAL)
    outcomes = check(options.file, Upstream(options.upstream), options.scratch, options.fast)
    sys.stdout.write(
        json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}) + "\n"
    )


if __name__ == "__main__":
    main()
