"""Render the Jinja chat template that a GGUF carries.

The template comes with the model file and is as trustworthy as its uploader. It is rendered in
Jinja's immutable sandbox, with the filters and globals of transformers. Jinja's sandbox keeps a
template from reaching Python, but not from exhausting memory or time; so what can make a big value
out of small ones is bounded before it is computed, what remains is paid from a budget, and every
loop and call looks at the clock.
"""

from __future__ import annotations

import json
import re
import reprlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any, NoReturn, TypeVar

from jinja2 import (
    Template,
    TemplateError,
    TemplateSyntaxError,
    nodes,
    pass_context,
    pass_environment,
)
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.filters import do_indent, make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from rys.errors import ChatTemplateError, RequestError

__all__ = ["render_chat_template"]

MAX_CHARACTERS = 16 * 1024 * 1024  # of the rendered prompt, and of any value on the way
MAX_TOTAL_CHARACTERS = 256 * 1024 * 1024  # of all values that one rendering makes
MAX_SECONDS = 10.0
MAX_TEMPLATE_CHARACTERS = 128 * 1024  # they take seconds to compile; the longest in use have 20 000
MAX_INTEGER_BITS = 4096
CHARACTERS_PER_ELEMENT = 64  # what an element of a list, with its object, counts for
MAX_FIELD_WIDTH = 10_000  # of `%9d` and `{:9}`, and of an indent in JSON

T = TypeVar("T")


def render_chat_template(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    **template_variables: Any,
) -> str:
    """Render messages with a model's chat template.

    template: Jinja source, as `tokenizer.chat_template` of the GGUF holds it.
    messages: each a mapping with a str "role"; what else it holds (content, tool_calls, ...) is up
        to the template.
    add_generation_prompt: end with the header of an assistant message.
    template_variables: further variables of the template. `tools` and `documents` are None unless
        given, as in transformers. A callable given here, such as a `strftime_now` with a fixed
        date, may be called.

    Raises RequestError if the messages are malformed, and ChatTemplateError, with the template's
    own words, if the template is broken, refuses the messages, does what the sandbox forbids, or
    needs too much memory or time.
    """
    variables = {
        "tools": None,
        "documents": None,
        **template_variables,
        "messages": _check_messages(messages),
        "add_generation_prompt": add_generation_prompt,
        "bos_token": bos_token,
        "eos_token": eos_token,
    }
    if not isinstance(template, str):
        raise ChatTemplateError(
            f"the chat template is {type(template).__name__}, but must be a str"
        )
    callables = tuple(value for value in template_variables.values() if callable(value))
    token = _BUDGET.set(_Budget(callables))
    try:
        return _join(_compile(template).generate(variables))
    except _RaisedByTemplateError as error:
        raise ChatTemplateError(f"the chat template refuses the messages: {error}") from error
    except TemplateSyntaxError as error:
        raise ChatTemplateError(
            f"the chat template is broken in line {error.lineno}: {_brief(error)}"
        ) from error
    except SecurityError as error:
        raise ChatTemplateError(f"the chat template was stopped: {_brief(error)}") from error
    except Exception as error:
        # Whatever an untrusted template makes Python raise is its failure, RecursionError and
        # MemoryError included.
        raise ChatTemplateError(f"the chat template failed: {_brief(error)}") from error
    finally:
        _BUDGET.reset(token)


def _check_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise RequestError(
            f"messages is {type(messages).__name__}, but must be a list of {{'role': ..., 'content': ...}}"
        )
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise RequestError(
                f"messages[{index}] is {type(message).__name__}, but must be a dict with a 'role'"
            )
        if not isinstance(message.get("role"), str):
            role = reprlib.repr(message.get("role"))
            raise RequestError(
                f"messages[{index}]['role'] is {role}, but must be a str such as 'user'"
            )
    # Plain dicts, because templates pass messages to tojson.
    return [dict(message) for message in messages]


@lru_cache(maxsize=64)
def _compile(template: str) -> Template:
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        _stop(f"its source has more than {MAX_TEMPLATE_CHARACTERS} characters")
    return _Environment().from_string(template)


def _brief(error: Exception) -> str:
    # A syntax error's str() repeats the source line.
    message = error.message if isinstance(error, TemplateError) else str(error)
    return (message or type(error).__name__)[:2000]


class _RaisedByTemplateError(TemplateError):
    """The template called raise_exception."""


@dataclass
class _Budget:
    """What one rendering may call, and what it has used."""

    callables: tuple[Any, ...]
    characters: int = 0
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)


_BUDGET: ContextVar[_Budget] = ContextVar("rys_chat_template_budget")


def _stop(reason: str) -> NoReturn:
    raise SecurityError(reason)


def _check_clock() -> None:
    if time.monotonic() > _BUDGET.get().deadline:
        _stop(f"it runs for more than {MAX_SECONDS:g} seconds")


def _check_size(characters: int) -> None:
    if characters > MAX_CHARACTERS:
        _stop(f"it makes a value or a prompt of more than {MAX_CHARACTERS} characters")


def _check_bits(bits: int) -> None:
    if bits > MAX_INTEGER_BITS:
        _stop(f"it makes an integer of more than {MAX_INTEGER_BITS} bits")


def _check_width(width: int) -> None:
    if width > MAX_FIELD_WIDTH:
        _stop(f"it makes a field of more than {MAX_FIELD_WIDTH} characters")


def _size(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, Namespace):
        value = value._Namespace__attrs
    return (
        CHARACTERS_PER_ELEMENT * len(value)
        if isinstance(value, (list, tuple, set, frozenset, Mapping))
        else 0
    )


def _printed_size(*values: Any) -> int:
    # What lists within lists print can grow exponentially, while the lists share their memory.
    size, stack = 0, list(values)
    while stack:
        value = stack.pop()
        size += 8
        if isinstance(value, (str, bytes)):
            size += len(value)
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack.extend(value)
        elif isinstance(value, Mapping):
            stack.extend(value.keys())
            stack.extend(value.values())
        elif isinstance(value, Namespace):
            stack.append(value._Namespace__attrs)
        _check_size(size)
    return size


def _pay(value: T) -> T:
    """Charge a new value to the budget and return it."""
    _check_clock()
    _check_size(_size(value))
    budget = _BUDGET.get()
    budget.characters += _size(value)
    if budget.characters > MAX_TOTAL_CHARACTERS:
        _stop(f"it makes values of more than {MAX_TOTAL_CHARACTERS} characters in total")
    return value


@pass_context
def _pay_anew(context: Context, value: T) -> T:
    # With the context among its arguments, Jinja does not fold the filter into a constant at
    # compile time.
    return _pay(value)


def _measured(value: T) -> T:
    """Return a value that is not too large to be compared or looked through."""
    _check_clock()
    if isinstance(value, (list, tuple, Mapping, Namespace)):
        _printed_size(value)
    return value


def _iterate(values: Iterable[T]) -> Iterator[T]:
    for value in values:
        _check_clock()
        yield value


def _text(value: Any) -> str:
    return str(_measured(value))


def _join(parts: Iterable[str], separator: str = "") -> str:
    collected: list[str] = []
    size = 0
    for part in _iterate(parts):
        size += len(part) + len(separator)
        _check_size(size)
        collected.append(part)
    return _pay(separator.join(collected))


def _concat(values: Iterable[Any]) -> str:
    return _join(map(_text, values))


def _check_replace(text: str, old: str, new: str) -> None:
    _check_size(len(text) + text.count(old) * len(new))


_PERCENT_FIELD = re.compile(
    r"%(?:\([^()]*\))?[-#0 +]*(\d+|\*)?(?:\.(\d+|\*)?)?[hlL]?(.)?", re.DOTALL
)


def _check_percent(text: str, values: Any) -> None:
    fields = list(_PERCENT_FIELD.finditer(text))
    size = len(text)
    for width in (width for match in fields for width in match.group(1, 2) if width):
        # `*` takes the width from the values.
        _check_width(int(width) if width.isdigit() and len(width) < 9 else MAX_FIELD_WIDTH + 1)
        size += int(width)
    if any(match[3] == "(" for match in fields):
        _stop("it formats with a key that holds parentheses")
    # Each field takes another value of a tuple, but may take the same value of a mapping.
    _check_size(size + _printed_size(values) * (len(fields) if isinstance(values, Mapping) else 1))


class _Formatter(SandboxedFormatter):
    """str.format, with the sandbox's attribute access and with fields of bounded width."""

    def __init__(self, environment: _Environment, text: str) -> None:
        super().__init__(environment)
        self.text = text
        self.size = len(text)

    def format(self, *args: Any, **kwargs: Any) -> str:
        return self.vformat(self.text, args, kwargs)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(_measured(value), conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        self.size += _printed_size(value)
        for width in re.findall(r"\d+", format_spec):
            _check_width(int(width) if len(width) < 9 else MAX_FIELD_WIDTH + 1)
            self.size += int(width)
        _check_size(self.size)
        return str(super().format_field(value, format_spec))


def _format_filter(text: Any, *args: Any, **kwargs: Any) -> str:
    _check_percent(_text(text), kwargs or args)
    return _text(text) % (kwargs or args)


def _indent_filter(
    text: Any, width: int | str = 4, first: bool = False, blank: bool = False
) -> str:
    text = _text(text)
    _check_size(
        len(text) + (len(text.splitlines()) + 1) * (width if isinstance(width, int) else len(width))
    )
    return do_indent(text, width, first, blank)


@pass_environment
def _join_filter(
    environment: _Environment, values: Iterable[Any], d: Any = "", attribute: Any = None
) -> str:
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    return _join(map(_text, values), _text(d))


def _replace_filter(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    arguments = _text(text), _text(old), _text(new)
    _check_replace(*arguments)
    return str.replace(*arguments, -1 if count is None else count)


def _tojson_filter(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # As in transformers: plain JSON, without the HTML escapes of Jinja's own filter.
    _check_width(indent if isinstance(indent, int) else len(indent or ""))
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return _join(encoder.iterencode(value))


def _raise_exception(message: Any) -> NoReturn:
    raise _RaisedByTemplateError(_text(message)[:2000])


def _strftime_now(format: str) -> str:  # noqa: A002
    _check_width(len(format))
    return datetime.now().strftime(format)


# Left out: what only web pages need, and `batch`, `center`, `random`, `round`, `slice` and `sum`.
_FILTERS = {
    "abs", "capitalize", "dictsort", "e", "escape", "float", "groupby", "int", "lower", "max", "min", "safe", "sort",
    "string", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
}  # fmt: skip
# These do not look inside a value, which may then be of any depth, and cost nothing in a loop.
_SHALLOW_FILTERS = {
    "attr", "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject", "rejectattr",
    "reverse", "select", "selectattr",
}  # fmt: skip
_SHALLOW_TESTS = {
    "boolean", "callable", "defined", "false", "float", "integer", "iterable", "mapping", "none", "number", "sameas",
    "sequence", "string", "true", "undefined",
}  # fmt: skip


def _guard(
    function: Callable[..., Any], *, shallow: bool, lists: bool = False
) -> Callable[..., Any]:
    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not shallow:
            _printed_size(*args, *kwargs.values())
        if lists:
            _check_size(
                CHARACTERS_PER_ELEMENT
                * max(len(value) for value in (*args, "") if isinstance(value, str))
            )
        return _pay(function(*args, **kwargs))

    return guarded


class _GuardInserter(NodeTransformer):
    """Add a filter where Jinja's sandbox has no hook: on loops, `~`, slices, comparisons, and long
    literals.

    A template cannot name these filters: a name in a template has no colon.
    """

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node, *args, **kwargs)
        if isinstance(node, nodes.Concat):
            return _filter("rys:concat", nodes.List(node.nodes, lineno=node.lineno))
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            return _filter("rys:pay", node)
        if isinstance(node, (nodes.List, nodes.Dict, nodes.Tuple)) and len(node.items) > 16:
            # A tuple may also be the target of an assignment.
            return node if getattr(node, "ctx", "load") == "store" else _filter("rys:pay", node)
        if isinstance(node, nodes.For):
            node.iter = _filter("rys:iterate", node.iter)
        elif isinstance(node, nodes.Compare):
            # The right sides are enough: a comparison goes no deeper than the smaller of its sides.
            for operand in node.ops:
                operand.expr = _filter("rys:measured", operand.expr)
        return node


def _filter(name: str, value: nodes.Node) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


class _Generation(Extension):
    """Accept `{% generation %}`, with which transformers marks the assistant's words for training."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        return nodes.Scope(
            parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=lineno
        )


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(_join)  # set blocks and macros join their output with it

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, "jinja2.ext.loopcontrols"],
            finalize=_text,
        )
        del self.globals["lipsum"]
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        replaced: dict[str, Callable[..., Any]] = {
            "format": _format_filter,
            "from_json": json.loads,  # not in transformers, but llama.cpp's templates use it
            "indent": _indent_filter,
            "join": _join_filter,
            "replace": _replace_filter,
            "tojson": _tojson_filter,
        }
        self.filters = {
            name: _guard(
                function, shallow=name in _SHALLOW_FILTERS, lists=name in ("list", "sort", "unique")
            )
            for name, function in self.filters.items()
            if name in _FILTERS | _SHALLOW_FILTERS
        }
        self.filters.update(
            {name: _guard(function, shallow=False) for name, function in replaced.items()}
        )
        self.filters.update(
            {
                "rys:concat": _concat,
                "rys:iterate": _iterate,
                "rys:measured": _measured,
                "rys:pay": _pay_anew,
            }
        )
        tests: dict[str, Any] = self.tests
        self.tests = {
            name: _guard(test, shallow=name in _SHALLOW_TESTS) for name, test in tests.items()
        }

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        _GuardInserter().visit(source)
        return super()._generate(source, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Methods that can make a huge value and that no chat template needs.
        grows = attr in ("encode", "expandtabs", "to_bytes", "translate") and isinstance(
            obj, (str, int)
        )
        return not grows and super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        # Values that the caller passed in may have methods, or be functions, that a template must
        # not call.
        owner = getattr(obj, "__self__", obj)
        known = (*self.globals.values(), *_BUDGET.get().callables)
        return super().is_safe_callable(obj) and (
            any(obj is function for function in known)
            or isinstance(owner, (str, int, float, Sequence, Mapping, _Formatter))
            or type(owner).__module__.startswith("jinja2.")
        )

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None
        if value.__name__ == "format_map":
            _stop("it calls format_map")
        return _Formatter(self, value.__self__).format

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        text, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", None)
        if isinstance(text, str) and args:
            if name == "join":
                return _join(args[0], text)
            if name == "replace" and len(args) > 1:
                _check_replace(text, *args[:2])
            if name in ("center", "ljust", "rjust", "zfill"):
                _check_width(args[0])
        if isinstance(text, str) and name in ("split", "rsplit", "splitlines"):
            separator = args[0] if args and isinstance(args[0], str) and args[0] else None
            pieces = text.count(separator) if separator else len(text) // 2
            _check_size(CHARACTERS_PER_ELEMENT * pieces)
        _pay([*args, *kwargs])  # `cycler(*names)` keeps its arguments
        return _pay(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            if isinstance(left, int) and isinstance(right, int):
                _check_bits(left.bit_length() + right.bit_length())
            elif isinstance(left, int):
                _check_size(_size(right) * left)
            elif isinstance(right, int):
                _check_size(_size(left) * right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * right)
        elif operator == "%" and isinstance(left, str):
            _check_percent(left, right)
        return _pay(super().call_binop(context, operator, left, right))
