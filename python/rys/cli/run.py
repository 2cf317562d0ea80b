"""`rys run`: what a model writes along a path, or along several side by side; a conversation in the
terminal.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from itertools import zip_longest
from typing import Any

from rys._util.printable import printable
from rys.cli.model_options import add_model_options, open_model
from rys.engine.model import Model
from rys.errors import RequestError, RysError
from rys.requests import GenerateResult, Prompt

__all__ = ["add_parser", "run"]

_NARROWEST_COLUMN = 24  # characters; below, texts stand one after the other


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "run",
        help="write text along a layer path",
        description="Continue a prompt along a layer path. With a chat template in the model the prompt is a message.",
    )
    add_model_options(parser)
    parser.add_argument(
        "--layer-path", metavar="P", help="such as 0..14,12.. (default: the file's own order)"
    )
    parser.add_argument(
        "--compare",
        metavar="P",
        action="append",
        default=[],
        help="answer along this path as well, side by side",
    )
    parser.add_argument("-p", "--prompt", help="the prompt (default: standard input)")
    parser.add_argument("--system", metavar="TEXT", help="a system message in front")
    parser.add_argument(
        "--chat",
        action="store_true",
        help="a conversation; Ctrl-C ends an answer, Ctrl-D the command",
    )
    parser.add_argument(
        "--raw", action="store_true", help="take the prompt as it is, without the chat template"
    )
    parser.add_argument(
        "-n", "--max-tokens", type=int, default=512, metavar="N", help="of an answer (default: 512)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="default: 0, greedy"
    )
    parser.add_argument(
        "--top-p", type=float, default=0.95, metavar="X", help="has a part only with a temperature"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the random choices (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer one prompt, or hold a conversation."""
    if options.chat and (options.json or options.raw):
        raise RequestError(
            "--chat is for people and needs the chat template: leave out --json and --raw"
        )
    if options.raw and options.system:
        raise RequestError(
            "--raw takes the prompt as it is: leave out --system, or write it into the prompt"
        )
    is_chat = options.chat or (
        options.prompt is None and sys.stdin.isatty() and not options.json and not options.raw
    )
    text = options.prompt
    if text is None and not is_chat:
        text = sys.stdin.read().removesuffix("\n")
    with ExitStack() as stack:
        model = stack.enter_context(open_model(options))
        views = [
            stack.enter_context(model.with_path(path))
            for path in (options.layer_path, *options.compare)
        ]
        if is_chat:
            if not model.chat_template:
                raise RequestError(
                    f"{model.source} has no chat template, so there is no conversation; "
                    f"give a prompt with -p, or --chat-template FILE"
                )
            converse(views, options, text)
            return 0
        if not text:
            raise RequestError('there is no prompt; give one with -p "..." or on standard input')
        prompt: Prompt = f"{options.system}\n{text}" if options.system else text
        if model.chat_template and not options.raw:
            prompt = [*opening(options), {"role": "user", "content": text}]
        if options.json:
            results = [
                described(view, view.generate(prompt, **settings(options))) for view in views
            ]
            print(json.dumps({"prompt": text, "results": results}))
        elif len(views) == 1:
            write(views[0], prompt, options)
        else:
            write_side_by_side(views, [prompt] * len(views), options)
    return 0


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of rys.Generate."""
    return {name: getattr(options, name) for name in ("max_tokens", "temperature", "top_p", "seed")}


def opening(options: argparse.Namespace) -> list[dict[str, str]]:
    """Return what stands before the first message of the user."""
    return [{"role": "system", "content": options.system}] if options.system else []


def described(view: Model, result: GenerateResult) -> dict[str, Any]:
    """Return a result as JSON can hold it."""
    return {
        "layer_path": str(view.layer_path),
        "n_slot": view.n_slot,
        "text": result.text,
        "finish_reason": result.finish_reason,
        "n_prompt_tokens": result.n_prompt_tokens,
        "n_tokens": len(result.tokens),
        "seconds": result.seconds,
    }


def write(view: Model, prompt: Prompt, options: argparse.Namespace, can_stop: bool = False) -> str:
    """Print an answer as it comes and return it. can_stop: Ctrl-C ends the answer, not the program."""
    pieces: list[str] = []
    with closing(view.stream(prompt, **settings(options))) as stream:
        try:
            for piece in stream:
                pieces.append(piece)
                print(printable(piece, limit=None, keep="\n\t"), end="", flush=True)
        except KeyboardInterrupt:
            if not can_stop:
                raise
        finally:
            if pieces:
                print()
    return "".join(pieces)


def write_side_by_side(
    views: Sequence[Model], prompts: Sequence[Prompt], options: argparse.Namespace
) -> list[str]:
    """Print what every view answers to its prompt, in columns, and return the answers."""
    answers = [
        view.generate(prompt, **settings(options)).text
        for view, prompt in zip(views, prompts, strict=True)
    ]
    print(
        side_by_side(
            [str(view.layer_path) for view in views], answers, shutil.get_terminal_size().columns
        )
    )
    return answers


def converse(views: Sequence[Model], options: argparse.Namespace, first: str | None) -> None:
    """Hold a conversation until the input ends. Each path remembers its own answers."""
    with suppress(ImportError):
        import readline  # noqa: F401  (gives input() a history and keys to edit with)

    histories = [opening(options) for _ in views]
    is_warned = False
    while True:
        try:
            message = input("> ") if first is None else first
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            if is_warned:
                raise
            is_warned = True
            print("\n(Ctrl-D ends the conversation, Ctrl-C once more as well)")
            continue
        first, is_warned = None, False
        if not message.strip():
            continue
        prompts = [[*history, {"role": "user", "content": message}] for history in histories]
        try:
            if len(views) == 1:
                answers = [write(views[0], prompts[0], options, can_stop=True)]
            else:
                answers = write_side_by_side(views, prompts, options)
        except KeyboardInterrupt:
            print()
            continue
        except RysError as error:  # a full context, most often: what was said before still stands
            print(f"rys run: {error}", file=sys.stderr)
            continue
        histories = [
            [*prompt, {"role": "assistant", "content": answer}]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


def side_by_side(titles: Sequence[str], texts: Sequence[str], width: int) -> str:
    """Lay out texts in columns under their titles, or one after the other where the columns would
    be too narrow.
    """
    texts = [printable(text, limit=None, keep="\n\t").expandtabs(4) for text in texts]
    column = (width - 3 * (len(texts) - 1)) // len(texts)
    if column < _NARROWEST_COLUMN:
        return "\n\n".join(f"{title}:\n{text}" for title, text in zip(titles, texts, strict=True))
    columns = []
    for title, text in zip(titles, texts, strict=True):
        lines = [*textwrap.wrap(title, column), "-" * column]
        for line in text.split("\n"):
            lines += textwrap.wrap(line, column, replace_whitespace=False) or [""]
        columns.append(lines)
    rows = zip_longest(*columns, fillvalue="")
    return "\n".join(" | ".join(cell.ljust(column) for cell in row).rstrip() for row in rows)
