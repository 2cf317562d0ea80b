"""Render the Jinja chat template that a GGUF carries.

The template comes with the model file and is as trustworthy as its uploader, so it is rendered in a
sandbox (template_sandbox.py) and on a budget (template_budget.py).
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, cast

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError

from rys.engine.template_budget import BUDGET, Budget, join, stop
from rys.engine.template_sandbox import Environment, RaisedByTemplateError
from rys.errors import ChatTemplateError, RequestError

__all__ = [
    "check_reads_messages",
    "choose_template",
    "find_given_template",
    "named_templates",
    "render_chat_template",
]

MAX_TEMPLATE_CHARACTERS = 128 * 1024  # they take seconds to compile; the longest in use have 20 000
# Stands after a text to find its end in the prompt. transformers uses the same, and a template may
# look for it.
_END_MARK = "CONTINUE_FINAL_MESSAGE_TAG "
# What messages call a reasoning. The first is the name that most templates read.
_REASONING = ("reasoning_content", "thinking", "reasoning")
# What template files are called: "chatml.jinja", "template.j2"
_FILE_SUFFIXES = {".jinja", ".jinja2", ".j2", ".json", ".txt", ".tmpl"}


def render_chat_template(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool | None = None,
    continue_final_message: bool | str = False,
    bos_token: str = "",
    eos_token: str = "",
    **template_variables: Any,
) -> str:
    """Render messages with a model's chat template.

    Args:
        template: Jinja source, as `tokenizer.chat_template` of the GGUF holds it.
        messages: Mappings with a str "role". What else they hold (content, tool_calls, ...) is up
            to the template. As in transformers, a field that is None is left out, and a reasoning
            may be called "reasoning_content", "thinking" or "reasoning".
        add_generation_prompt: Whether to end with the header of an assistant message; None = yes,
            unless the final message is continued.
        continue_final_message: Whether to end right after the content of the last message, so that
            the model goes on with it. As in transformers: white space at the end of the content
            stays if the template keeps it. The name of another field, such as
            "reasoning_content", continues the text in that.
        bos_token: Text of the BOS token.
        eos_token: Text of the EOS token.
        template_variables: Further variables of the template. `tools` and `documents` are None
            unless given, as in transformers. A callable given here, such as a `strftime_now` with a
            fixed date, may be called.

    Returns:
        The prompt.

    Raises:
        RequestError: If the messages are malformed, both ends are asked for, or there is no last
            message with a text to continue.
        ChatTemplateError: If the template is broken, refuses the messages (its own words are in the
            message), does not render the text to continue, does what the sandbox forbids, or needs
            too much memory or time.
    """
    checked = _check_messages(messages)
    field = _field_to_continue(continue_final_message, add_generation_prompt)
    begun = ""
    if field is not None:
        checked, begun = _mark_end(checked, field)
    if add_generation_prompt is None:
        add_generation_prompt = field is None
    variables = {
        "tools": None,
        "documents": None,
        **template_variables,
        "messages": checked,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": bos_token,
        "eos_token": eos_token,
    }
    if not isinstance(template, str):
        raise ChatTemplateError(
            f"the chat template is {type(template).__name__}, but must be a str"
        )
    callables = tuple(value for value in template_variables.values() if callable(value))
    prompt = _render(template, variables, Budget(callables))
    return prompt if field is None else _cut_at_mark(prompt, field, begun)


def _field_to_continue(
    continue_final_message: bool | str, add_generation_prompt: bool | None
) -> str | None:
    """Return which field of the last message is continued; None for none."""
    if not continue_final_message:
        return None
    if add_generation_prompt:
        raise RequestError(
            "continue_final_message and add_generation_prompt are both true, but a prompt ends "
            "either within the last message or with the header of a new one; set one of them"
        )
    return continue_final_message if isinstance(continue_final_message, str) else "content"


def _mark_end(messages: list[dict[str, Any]], field: str) -> tuple[list[dict[str, Any]], str]:
    """Return the messages with a mark after the text of the last one, and that text."""
    last = messages[-1] if messages else {}
    content = last.get(field)
    if isinstance(content, str):
        # a reasoning has several names; the template reads one of them
        names = [name for name in _REASONING if field in _REASONING and last.get(name) == content]
        marked = dict.fromkeys(names or [field], content + _END_MARK)
        return [*messages[:-1], {**last, **marked}], content
    # a list of parts: the last one with a text, as in [{"type": "text", "text": "So far"}]
    parts = list(content) if isinstance(content, (list, tuple)) else []
    for index in reversed(range(len(parts))):
        part = parts[index]
        if isinstance(part, Mapping) and isinstance(part.get("text"), str):
            parts[index] = {**part, "text": part["text"] + _END_MARK}
            return [*messages[:-1], {**last, field: parts}], part["text"]
    raise RequestError(
        f"continue_final_message is true, but the last message has no text to continue; "
        f"give one whose {field!r} is the beginning of the answer"
    )


def _cut_at_mark(prompt: str, field: str, text: str) -> str:
    """Return a prompt up to the mark of `_mark_end`, which stands after a text."""
    end = prompt.rfind(_END_MARK.strip())
    if end < 0 or text.strip() not in prompt:
        raise ChatTemplateError(
            f"continue_final_message is true, but the chat template does not render the {field} "
            f"of the last message, or not as it is"
        )
    # Without the mark's own space, the template strips contents: then this one is stripped as well.
    keeps_space = prompt.startswith(_END_MARK, end)
    return prompt[:end] if keeps_space else prompt[:end].rstrip()


def named_templates(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the templates of a file by their names.

    Args:
        metadata: Its key-values. `tokenizer.chat_template` is called "default", and
            `tokenizer.chat_template.tool_use` is called "tool_use", as in transformers.
    """
    names = {"tokenizer.chat_template": "default"}
    for key in metadata:
        if key.startswith("tokenizer.chat_template."):
            names[key] = key.removeprefix("tokenizer.chat_template.")
    # an empty template is what some converters write where there is none
    return {name: metadata[key] for key, name in names.items() if metadata.get(key)}


def choose_template(templates: Mapping[str, Any], source: str, *, has_tools: bool) -> Any:
    """Return the template of a file that renders a conversation.

    As in transformers: "tool_use" where there are tools, else "default". A template that is the
    only one of its file needs no name.

    Args:
        templates: Those of the file by their names.
        source: The name of the file, for the error.
        has_tools: Whether the conversation has tools.

    Raises:
        ChatTemplateError: If there is no template, or none of these names among several.
    """
    if has_tools and "tool_use" in templates:
        return templates["tool_use"]
    if "default" in templates or len(templates) == 1:
        return templates.get("default") or next(iter(templates.values()))
    if templates:
        names = ", ".join(sorted(templates))
        raise ChatTemplateError(
            f"{source} has several chat templates and no default; give the name of one as "
            f"rys.Model(chat_template=...): {names}"
        )
    raise ChatTemplateError(
        f"{source} has no chat template; give one as rys.Model(chat_template=...)"
    )


def find_given_template(template: Any, templates: Mapping[str, Any]) -> str | None:
    """Return the template that a user gives as source, or by the name that it has in the file.

    Jinja takes any text for a template. One without `messages` would be the whole prompt, for every
    conversation, so such a text is refused, and so is the name of a file.

    Args:
        template: The value of `chat_template=`; None is accepted.
        templates: Those of the model's file by their names.

    Returns:
        Jinja source that reads the messages; None for None.

    Raises:
        ChatTemplateError: If it is neither.
    """
    if template is None:
        return None
    if isinstance(template, str) and isinstance(templates.get(template), str):
        return cast("str", templates[template])
    wanted = "must be the Jinja source of a template that renders `messages`"
    if isinstance(template, PurePath) or (
        isinstance(template, str) and _is_file_name(template) and not _reads_messages(template)
    ):
        name = str(template)
        raise ChatTemplateError(
            f"chat_template is {name!r}, the name of a file, but {wanted}; give what is in the "
            f"file: chat_template=pathlib.Path({name!r}).read_text()"
        )
    if not isinstance(template, str):
        raise ChatTemplateError(f"chat_template is {type(template).__name__}, but {wanted}")
    if not _reads_messages(template):
        names = ", ".join(sorted(templates)) or "it has none"
        raise ChatTemplateError(
            f"chat_template is {reprlib.repr(template)}, but {wanted}, or the name of one of the "
            f"file's ({names}); leave chat_template out to use the file's own"
        )
    return template


def check_reads_messages(template: Any, source: str) -> None:
    """Refuse the template of a file that would render the same prompt for all messages.

    Args:
        template: What the file holds as its template.
        source: The name of the file, for the error.

    Raises:
        ChatTemplateError: If the template does not read the messages.
    """
    # the file may hold a value of another type there; rendering reports that
    if isinstance(template, str) and not _reads_messages(template):
        raise ChatTemplateError(
            f"the chat template of {source} is {reprlib.repr(template)}, which renders no message; "
            f"give the Jinja source of one that does as rys.Model(chat_template=...)"
        )


def _is_file_name(text: str) -> bool:
    if not text or len(text) > 1000 or "\n" in text or "{" in text:
        return False
    try:
        return Path(text).suffix.lower() in _FILE_SUFFIXES or Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False


@lru_cache(maxsize=64)
def _reads_messages(template: str) -> bool:
    """Return whether a template uses the variable `messages`.

    True for source that cannot be parsed: to render it gives the better error.
    """
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        return True
    try:
        names = Environment().parse(template).find_all(nodes.Name)
        return any(name.name == "messages" for name in names)
    except (TemplateError, RecursionError, MemoryError):
        return True


def _render(template: str, variables: Mapping[str, Any], budget: Budget) -> str:
    """Render a template on a budget; whatever goes wrong is a ChatTemplateError."""
    token = BUDGET.set(budget)
    try:
        return join(_compile(template).generate(variables))
    except RaisedByTemplateError as error:
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
        BUDGET.reset(token)


def _check_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages as plain dicts."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise RequestError(
            f"messages is {type(messages).__name__}, but must be a list of "
            f"{{'role': ..., 'content': ...}}"
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
    return [_without_gaps(message) for message in messages]


def _without_gaps(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without fields that are None, and with its reasoning under usual names."""
    # A plain dict, because templates pass messages to tojson. `"content": None` is what APIs give
    # beside a tool call; many templates would print "None".
    plain = {name: value for name, value in message.items() if value is not None}
    reasoning = next((plain[name] for name in _REASONING if name in plain), None)
    if reasoning is None:
        return plain
    return {"thinking": reasoning, **plain, "reasoning_content": reasoning}


@lru_cache(maxsize=64)
def _compile(template: str) -> Template:
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        stop(f"its source has more than {MAX_TEMPLATE_CHARACTERS} characters")
    return Environment().from_string(template)


def _brief(error: Exception) -> str:
    """Return what an error says, without its source and not without end."""
    # A syntax error's str() repeats the source line.
    message = error.message if isinstance(error, TemplateError) else str(error)
    return (message or type(error).__name__)[:2000]
