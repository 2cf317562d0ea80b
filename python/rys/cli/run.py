"""`rys run`: answer a prompt along a path or along several, or hold a conversation."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import zip_longest
from typing import Any

from rys._util.printable import printable
from rys.cli.model_options import add_model_options, open_model
from rys.engine.model import Model
from rys.errors import RequestError, RysError
from rys.requests import Generate, GenerateResult, Prompt

__all__ = ["add_parser", "run"]

_NARROWEST_COLUMN = 24  # characters; if columns would be narrower, texts follow one another


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "run",
        help="write text along a layer path",
        description="Continue a prompt along a layer path. If the model has a chat template, the "
        "prompt is sent as a message.",
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
        help="answer along this path as well, side by side; may be given several times",
    )
    parser.add_argument("-p", "--prompt", help="the prompt (default: standard input)")
    parser.add_argument("--system", metavar="TEXT", help="a system message before the prompt")
    parser.add_argument(
        "--chat",
        action="store_true",
        help="hold a conversation; Ctrl-C stops an answer, Ctrl-D ends the conversation",
    )
    parser.add_argument(
        "--raw", action="store_true", help="take the prompt as it is, without the chat template"
    )
    parser.add_argument(
        "-n",
        "--max-tokens",
        type=int,
        default=512,
        metavar="N",
        help="largest number of tokens in an answer (default: 512)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="X",
        help="randomness of the answers; 0, the default, always takes the most probable token",
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=0.95,
        metavar="X",
        help="choose among the tokens that make up this probability (default: 0.95); "
        "only used with a temperature",
    )
    parser.add_argument(
        "--seed",
        type=read_seed,
        default=0,
        metavar="N",
        help='seed of the random choices (default: 0); "random" for another one each time',
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def read_seed(text: str) -> int | None:
    """Return the seed that an option names; None for a random one."""
    return None if text == "random" else int(text)


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
    is_chat = options.chat or is_interactive(options)
    text = options.prompt
    if text is None and not is_chat:
        # the newline that echo and editors put at the end is not meant
        text = sys.stdin.read().removesuffix("\n")
    with ExitStack() as stack:
        model = stack.enter_context(open_model(options))
        views = []
        for path in (options.layer_path, *options.compare):
            views.append(stack.enter_context(model.with_path(path)))
        if is_chat:
            if not model.chat_template:
                raise RequestError(
                    f"{model.source} has no chat template, so there is no conversation; "
                    f"give a prompt with -p, or --chat-template FILE"
                )
            converse(views, options, text)
        else:
            answer(views, options, text)
    return 0


def is_interactive(options: argparse.Namespace) -> bool:
    """Return whether a person sits at the terminal and has given no prompt."""
    return options.prompt is None and sys.stdin.isatty() and not options.json and not options.raw


def answer(views: Sequence[Model], options: argparse.Namespace, text: str | None) -> None:
    """Print the answers to one prompt."""
    if not text:
        raise RequestError('there is no prompt; give one with -p "..." or on standard input')
    # without a template a system message is plain text before the prompt
    prompt: Prompt = f"{options.system}\n{text}" if options.system else text
    if views[0].chat_template and not options.raw:
        prompt = [*opening(options), {"role": "user", "content": text}]
    if options.json:
        results = []
        for view in views:
            results.append(
                describe_result(view, view.generate(prompt, **settings(options, prompt)))
            )
        print(json.dumps({"prompt": text, "results": results}))
    elif len(views) == 1:
        print_answer(views[0], prompt, options)
    else:
        print_side_by_side(views, [prompt] * len(views), options)


def settings(options: argparse.Namespace, prompt: Prompt) -> dict[str, Any]:
    """Return the options of rys.Generate."""
    names = ("max_tokens", "temperature", "top_p", "seed")
    given = {name: getattr(options, name) for name in names}
    # a long conversation goes on without its beginning
    return given if isinstance(prompt, str) else {**given, "on_full": "drop_oldest"}


def report_dropped(view: Model, prompt: Prompt, options: argparse.Namespace) -> None:
    """Say how many messages of a conversation the model does not see any more."""
    prepared = view.prepare([Generate(prompt, **settings(options, prompt))])
    n_dropped = getattr(prepared[0], "n_dropped_messages", 0)
    if n_dropped:
        print(
            f"rys run: the context is full; the {n_dropped} oldest messages are left out "
            f"(--n-ctx makes room for more)",
            file=sys.stderr,
        )


def opening(options: argparse.Namespace) -> list[dict[str, str]]:
    """Return the messages before the first one of the user."""
    return [{"role": "system", "content": options.system}] if options.system else []


def describe_result(view: Model, result: GenerateResult) -> dict[str, Any]:
    """Return a result as JSON can hold it."""
    return {
        "layer_path": str(view.layer_path),
        "n_slot": view.n_slot,
        "text": result.text,
        "finish_reason": result.finish_reason,
        "n_prompt_tokens": result.n_prompt_tokens,
        "n_tokens": len(result.tokens),
        "seed": result.seed,
        "seconds": result.seconds,
    }


def print_answer(
    view: Model, prompt: Prompt, options: argparse.Namespace, can_stop: bool = False
) -> str:
    """Print an answer as it is generated, and return it.

    Args:
        view: The model.
        prompt: A text or messages.
        options: The command line.
        can_stop: Whether Ctrl-C ends the answer alone, and not the program.
    """
    pieces: list[str] = []
    with closing(view.stream(prompt, **settings(options, prompt))) as stream:
        try:
            for piece in stream:
                pieces.append(piece)
                # a model may write escape sequences, which a terminal must not obey
                print(printable(piece, limit=None, keep="\n\t"), end="", flush=True)
        except KeyboardInterrupt:
            if not can_stop:
                raise
        finally:
            if pieces:
                print()
    return "".join(pieces)


def print_side_by_side(
    views: Sequence[Model], prompts: Sequence[Prompt], options: argparse.Namespace
) -> list[str]:
    """Print in columns what each view answers to its prompt, and return the answers."""
    answers = []
    for view, prompt in zip(views, prompts, strict=True):
        answers.append(view.generate(prompt, **settings(options, prompt)).text)
    titles = [str(view.layer_path) for view in views]
    print(side_by_side(titles, answers, shutil.get_terminal_size().columns))
    return answers


def converse(views: Sequence[Model], options: argparse.Namespace, first: str | None) -> None:
    """Hold a conversation until the input ends.

    Each path sees its own answers, so the conversations may drift apart.

    Args:
        views: The model along each path.
        options: The command line.
        first: The first message; None to ask for it.
    """
    # Windows has no readline
    with suppress(ImportError):
        import readline  # noqa: F401  (gives input() a history and keys to edit with)

    histories = [opening(options) for _ in views]
    for message in read_messages(first):
        prompts = [[*history, {"role": "user", "content": message}] for history in histories]
        try:
            report_dropped(views[0], prompts[0], options)
            if len(views) == 1:
                answers = [print_answer(views[0], prompts[0], options, can_stop=True)]
            else:
                answers = print_side_by_side(views, prompts, options)
        except KeyboardInterrupt:
            print()
            continue
        except RysError as error:
            # such as a message that alone is too long; what was said before still stands
            print(f"rys run: {error}", file=sys.stderr)
            continue
        histories = []
        for prompt, text in zip(prompts, answers, strict=True):
            histories.append([*prompt, {"role": "assistant", "content": text}])


def read_messages(first: str | None) -> Iterator[str]:
    """Yield what the user types, line by line, without blank lines.

    Args:
        first: A message to yield before any input; None for none.

    Raises:
        KeyboardInterrupt: After a second Ctrl-C in a row at the prompt.
    """
    if first is not None and first.strip():
        yield first
    is_warned = False
    while True:
        try:
            message = input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            if is_warned:
                raise
            is_warned = True
            print("\n(Ctrl-D ends the conversation, and so does another Ctrl-C)")
            continue
        is_warned = False
        if message.strip():
            yield message


def side_by_side(titles: Sequence[str], texts: Sequence[str], width: int) -> str:
    """Lay out texts in columns under their titles.

    Where the columns would be too narrow, the texts follow one another.

    Args:
        titles: A title for each text.
        texts: The texts, which may hold newlines.
        width: Width of the terminal in characters.
    """
    texts = [printable(text, limit=None, keep="\n\t").expandtabs(4) for text in texts]
    separator = " | "
    column = (width - len(separator) * (len(texts) - 1)) // len(texts)
    titled = list(zip(titles, texts, strict=True))
    if column < _NARROWEST_COLUMN:
        return "\n\n".join(f"{title}:\n{text}" for title, text in titled)
    columns = []
    for title, text in titled:
        columns.append([*textwrap.wrap(title, column), "-" * column, *wrap_lines(text, column)])
    lines = []
    for row in zip_longest(*columns, fillvalue=""):
        cells = [cell.ljust(column) for cell in row]
        lines.append(separator.join(cells).rstrip())
    return "\n".join(lines)


def wrap_lines(text: str, width: int) -> list[str]:
    """Wrap each line of a text; blank lines stay."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, width, replace_whitespace=False) or [""]
    return lines
