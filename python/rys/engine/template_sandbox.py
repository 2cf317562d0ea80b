"""The Jinja environment for chat templates: the sandbox of Jinja, with a budget.

It has the filters and globals of transformers. Jinja's sandbox has hooks for calls, operators and
attributes, and these charge the budget here. It has none for loops, `~`, slices, comparisons and
literals: `_GuardInserter` puts filters there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, NoReturn, TypeVar

from jinja2 import TemplateError, nodes, pass_context, pass_environment
from jinja2.ext import Extension
from jinja2.filters import do_indent, make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from rys.engine.template_budget import (
    BUDGET,
    CHARACTERS_PER_ELEMENT,
    check_bits,
    check_digits,
    check_size,
    check_width,
    iterate,
    join,
    measured,
    pay,
    printed_size,
    size_of,
    stop,
    text_of,
)

__all__ = ["Environment", "RaisedByTemplateError"]

T = TypeVar("T")


class RaisedByTemplateError(TemplateError):
    """The template called raise_exception."""


@pass_context
def _pay_when_run(context: Context, value: T) -> T:
    """Charge a value to the budget of the rendering, and not when the template is compiled."""
    # With the context among its arguments, Jinja does not fold the filter into a constant.
    return pay(value)


def _concat(values: Iterable[Any]) -> str:
    return join(map(text_of, values))


def _check_replace(text: str, old: str, new: str) -> None:
    check_size(len(text) + text.count(old) * len(new))


# A field of `text % values`: %d, %-8s, %(name)s, %05.2f, %*d, %%. Groups: width, precision, type.
_PERCENT_FIELD = re.compile(
    r"%(?:\([^()]*\))?[-#0 +]*(\d+|\*)?(?:\.(\d+|\*)?)?[hlL]?(.)?", re.DOTALL
)


def _check_percent(text: str, values: Any) -> None:
    """Bound what `text % values` makes."""
    size, n_fields = len(text), 0
    has_nested_key = False
    for match in _PERCENT_FIELD.finditer(text):
        n_fields += 1
        for width in match.group(1, 2):
            if width:
                # `*` would take the width from the values; it is refused
                size += check_digits(width)
        has_nested_key = has_nested_key or match[3] == "("
    if has_nested_key:
        stop("it formats with a key that holds parentheses")
    # Each field takes another value of a tuple, but may take the same value of a mapping.
    n_prints = n_fields if isinstance(values, Mapping) else 1
    check_size(size + printed_size(values) * n_prints)


class _Formatter(SandboxedFormatter):
    """str.format, with the sandbox's attribute access and with fields of bounded width."""

    def __init__(self, environment: Environment, text: str) -> None:
        super().__init__(environment)
        self.text = text
        self.size = len(text)

    def format(self, *args: Any, **kwargs: Any) -> str:
        return self.vformat(self.text, args, kwargs)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(measured(value), conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        self.size += printed_size(value)
        for width in re.findall(r"\d+", format_spec):  # 9 and 2 of ">9.2f"
            self.size += check_digits(width)
        check_size(self.size)
        return str(super().format_field(value, format_spec))


def _format_filter(text: Any, *args: Any, **kwargs: Any) -> str:
    _check_percent(text_of(text), kwargs or args)
    return text_of(text) % (kwargs or args)


def _indent_filter(
    text: Any, width: int | str = 4, first: bool = False, blank: bool = False
) -> str:
    text = text_of(text)
    n_lines = len(text.splitlines()) + 1
    n_characters = width if isinstance(width, int) else len(width)
    check_size(len(text) + n_lines * n_characters)
    return do_indent(text, width, first, blank)


@pass_environment
def _join_filter(
    environment: Environment, values: Iterable[Any], d: Any = "", attribute: Any = None
) -> str:
    # `d` is Jinja's name of the separator, which a template may use
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    return join(map(text_of, values), text_of(d))


def _replace_filter(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    arguments = text_of(text), text_of(old), text_of(new)
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
    check_width(indent if isinstance(indent, int) else len(indent or ""))
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return join(encoder.iterencode(value))


def _raise_exception(message: Any) -> NoReturn:
    raise RaisedByTemplateError(text_of(message)[:2000])


def _strftime_now(format: str) -> str:  # noqa: A002
    check_width(len(format))
    return datetime.now().strftime(format)


# Left out: what only web pages need, and `batch`, `center`, `random`, `round`, `slice` and `sum`.
_FILTERS = {
    "abs", "capitalize", "dictsort", "e", "escape", "float", "groupby", "int", "lower", "max",
    "min", "safe", "sort", "string", "title", "trim", "truncate", "unique", "upper", "urlencode",
    "wordcount",
}  # fmt: skip
# These do not look inside a value, which may then be of any depth, and cost nothing in a loop.
_SHALLOW_FILTERS = {
    "attr", "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject",
    "rejectattr", "reverse", "select", "selectattr",
}  # fmt: skip
_SHALLOW_TESTS = {
    "boolean", "callable", "defined", "false", "float", "integer", "iterable", "mapping", "none",
    "number", "sameas", "sequence", "string", "true", "undefined",
}  # fmt: skip
# These make a list of a text, with an element for each character.
_LISTING_FILTERS = {"list", "sort", "unique"}


def _guard(
    function: Callable[..., Any], *, shallow: bool, lists: bool = False
) -> Callable[..., Any]:
    """Return a filter or test that charges the budget.

    Args:
        function: The filter or test.
        shallow: Whether it does not look inside of its arguments, whose size then does not matter.
        lists: Whether it makes a list of a text.
    """

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not shallow:
            printed_size(*args, *kwargs.values())
        if lists:
            longest = max((len(value) for value in args if isinstance(value, str)), default=0)
            check_size(CHARACTERS_PER_ELEMENT * longest)
        return pay(function(*args, **kwargs))

    return guarded


class _GuardInserter(NodeTransformer):
    """A pass over a template that adds filters where Jinja's sandbox has no hook.

    That is on loops, `~`, slices, comparisons, and long literals. A template cannot name these
    filters: a name in a template has no colon.
    """

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node, *args, **kwargs)
        if isinstance(node, nodes.Concat):
            return _filter("rys:concat", nodes.List(node.nodes, lineno=node.lineno))
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            return _filter("rys:pay", node)
        if isinstance(node, (nodes.List, nodes.Dict, nodes.Tuple)) and len(node.items) > 16:
            # A tuple may also be the target of an assignment.
            is_target = getattr(node, "ctx", "load") == "store"
            return node if is_target else _filter("rys:pay", node)
        if isinstance(node, nodes.For):
            node.iter = _filter("rys:iterate", node.iter)
        elif isinstance(node, nodes.Compare):
            # The right sides are enough: a comparison goes no deeper than the smaller of its sides.
            for operand in node.ops:
                operand.expr = _filter("rys:measured", operand.expr)
        return node


def _filter(name: str, value: nodes.Node) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


class _Namespace(Namespace):
    """A namespace that gives a text back to the budget when another one takes its place.

    Templates that add each message to one text would else pay for all its former states.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        replaced = [self._Namespace__attrs.pop(name, None)]
        # by the list and by this call: nothing else holds it any more
        if sys.getrefcount(replaced[0]) == 2:
            BUDGET.get().characters -= size_of(replaced[0])
        super().__setitem__(name, value)


class _Generation(Extension):
    """The tag `{% generation %}`, with which transformers marks the assistant's words."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        # what stands between the tags is rendered as if they were not there
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=lineno)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, in which everything that costs charges the budget."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(join)  # set blocks and macros join their output with it

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, "jinja2.ext.loopcontrols"],
            finalize=text_of,
        )
        del self.globals["lipsum"]
        self.globals.update(
            namespace=_Namespace, raise_exception=_raise_exception, strftime_now=_strftime_now
        )
        replaced: dict[str, Callable[..., Any]] = {
            "format": _format_filter,
            "from_json": json.loads,  # not in transformers, but llama.cpp's templates use it
            "indent": _indent_filter,
            "join": _join_filter,
            "replace": _replace_filter,
            "tojson": _tojson_filter,
        }
        filters: dict[str, Callable[..., Any]] = {
            "rys:concat": _concat,
            "rys:iterate": iterate,
            "rys:measured": measured,
            "rys:pay": _pay_when_run,
        }
        for name in _FILTERS | _SHALLOW_FILTERS:
            filters[name] = _guard(
                self.filters[name],
                shallow=name in _SHALLOW_FILTERS,
                lists=name in _LISTING_FILTERS,
            )
        for name, function in replaced.items():
            filters[name] = _guard(function, shallow=False)
        self.filters = filters
        tests: dict[str, Any] = self.tests
        for name, test in tests.items():
            tests[name] = _guard(test, shallow=name in _SHALLOW_TESTS)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        _GuardInserter().visit(source)
        return super()._generate(source, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Methods that can make a huge value and that no chat template needs.
        can_grow = attr in ("encode", "expandtabs", "to_bytes", "translate")
        if can_grow and isinstance(obj, (str, int)):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        # Values that the caller passed in may have methods, or be functions, that a template must
        # not call.
        owner = getattr(obj, "__self__", obj)
        known = (*self.globals.values(), *BUDGET.get().callables)
        is_of_value = isinstance(owner, (str, int, float, Sequence, Mapping, _Formatter))
        is_of_jinja = type(owner).__module__.startswith("jinja2.")
        is_known = any(obj is function for function in known)
        return super().is_safe_callable(obj) and (is_known or is_of_value or is_of_jinja)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None
        if value.__name__ == "format_map":
            stop("it calls format_map")
        return _Formatter(self, value.__self__).format

    # The names of Jinja's own method: a template may pass keywords such as `self`.
    def call(
        __self,  # noqa: N805
        __context: Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        text, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", None)
        if isinstance(text, str) and args:
            if name == "join":
                return join(args[0], text)
            if name == "replace" and len(args) > 1:
                _check_replace(text, *args[:2])
            if name in ("center", "ljust", "rjust", "zfill"):
                check_width(args[0])
        if isinstance(text, str) and name in ("split", "rsplit", "splitlines"):
            n_pieces = len(text) // 2  # at white space or newlines
            if args and isinstance(args[0], str) and args[0]:
                n_pieces = text.count(args[0])
            check_size(CHARACTERS_PER_ELEMENT * n_pieces)
        pay([*args, *kwargs])  # `cycler(*names)` keeps its arguments
        return pay(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            if isinstance(left, int) and isinstance(right, int):
                check_bits(left.bit_length() + right.bit_length())
            elif isinstance(left, int):
                check_size(size_of(right) * left)
            elif isinstance(right, int):
                check_size(size_of(left) * right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            check_bits(left.bit_length() * right)
        elif operator == "%" and isinstance(left, str):
            _check_percent(left, right)
        return pay(super().call_binop(context, operator, left, right))
