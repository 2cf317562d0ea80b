import functools
import json
import time
import tracemalloc
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import MappingProxyType

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rys.engine import chat_template, template_budget
from rys.engine.chat_template import render_chat_template
from rys.errors import ChatTemplateError, RequestError

USER = {"role": "user", "content": "Is 1 < 2 & 'so'?"}
CHAT = [
    {"role": "system", "content": " Be brief. "},
    USER,
    {"role": "assistant", "content": "<think>easy</think>Yes, größer."},
    {"role": "user", "content": "Thanks"},
]
TOOLS = [
    {
        "type": "function",
        "function": {"name": "add", "parameters": {"b": {"enum": ["<", "ü"]}, "a": None}},
    }
]

CHATML = """\
{%- for message in messages %}
    {%- if loop.first and message['role'] != 'system' %}
        {{- '<|im_start|>system\\nBe helpful.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim }}
    {{- '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def render(template, messages=(USER,), **variables):
    return render_chat_template(template, messages, **variables)


# What a template prints


def test_a_chat_is_rendered_to_the_exact_prompt():
    assert render(CHATML) == (
        "<|im_start|>system\nBe helpful.<|im_end|>\n"
        "<|im_start|>user\nIs 1 < 2 & 'so'?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert render(CHATML, CHAT[:2], add_generation_prompt=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nIs 1 < 2 & 'so'?<|im_end|>\n"
    )


def test_the_special_tokens_and_further_variables_reach_the_template():
    template = (
        "{{ bos_token }}|{{ eos_token }}|{{ enable_thinking }}|{{ nothing }}|{{ tools is none }}"
    )
    assert (
        render(template, bos_token="<s>", eos_token="</s>", enable_thinking=False)
        == "<s>|</s>|False||True"
    )
    assert render("{{ bos_token }}|{{ eos_token }}|{{ documents is none }}") == "||True"


def test_tojson_is_plain_json_without_html_escapes():
    assert render("{{ tools | tojson }}", tools=TOOLS) == json.dumps(TOOLS, ensure_ascii=False)
    assert render("{{ tools | tojson(indent=2) }}", tools=TOOLS) == json.dumps(
        TOOLS, ensure_ascii=False, indent=2
    )
    assert render("{{ messages[0] | tojson }}", [MappingProxyType(USER)]) == json.dumps(USER)


def test_the_generation_tag_is_accepted_and_keeps_its_scope():
    template = (
        "{% for m in messages %}{% generation %}"
        "{% set x = m.role %}[{{ x }}]{% endgeneration %}{{ x }}{% endfor %}"
    )
    assert render(template, CHAT) == "[system][user][assistant][user]"


def test_loop_controls_are_accepted():
    template = (
        "{% for m in messages %}{% if loop.index0 == 1 %}"
        "{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}"
    )
    assert render(template, CHAT[1:]) == "user"


def test_strftime_now_is_the_date_unless_the_caller_fixes_it():
    assert render("{{ strftime_now('%Y') }}") in {
        str(datetime.now().year),
        str(datetime.now().year - 1),
    }
    assert (
        render("{{ strftime_now('%d %b') }}", strftime_now=datetime(2024, 7, 26).strftime)
        == "26 Jul"
    )


# To continue the final message

BEGUN = [USER, {"role": "assistant", "content": "Yes, and "}]
KEEPS_SPACE = CHATML.replace(" | trim", "")


def test_a_begun_answer_is_continued_right_after_its_content():
    begin = "<|im_start|>system\nBe helpful.<|im_end|>\n<|im_start|>user\nIs 1 < 2 & 'so'?"
    begin += "<|im_end|>\n<|im_start|>assistant\n"
    # as in transformers: a template that strips contents strips this one, too
    assert render(CHATML, BEGUN, continue_final_message=True) == begin + "Yes, and"
    assert render(KEEPS_SPACE, BEGUN, continue_final_message=True) == begin + "Yes, and "
    assert BEGUN[-1]["content"] == "Yes, and "


@pytest.mark.parametrize(
    ("content", "end"),
    [
        ("", ""),
        (" \n", " \n"),
        ("CONTINUE_FINAL_MESSAGE_TAG a", "CONTINUE_FINAL_MESSAGE_TAG a"),
        ("<|im_end|>\n", "<|im_end|>\n"),
    ],
)
def test_any_begun_answer_stays_as_it_is(content, end):
    messages = [USER, {"role": "assistant", "content": content}]
    rendered = render(KEEPS_SPACE, messages, continue_final_message=True)
    assert rendered == render(KEEPS_SPACE, [USER]) + end


def test_the_last_text_of_several_parts_is_continued():
    template = (
        "{% for m in messages %}[{% for part in m.content %}"
        "{{ part.text if part.type == 'text' else '<image>' }}{% endfor %}]{% endfor %}"
    )
    parts = [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
        {"type": "image"},
    ]
    messages = [{"role": "assistant", "content": parts}]
    assert render(template, messages) == "[ab<image>]"
    assert render(template, messages, continue_final_message=True) == "[ab"
    assert parts[1]["text"] == "b"


def test_a_generation_prompt_ends_the_prompt_unless_the_final_message_is_continued():
    template = "{{ messages[0].content }}|{{ add_generation_prompt }}"
    assert render(template, [{"role": "user", "content": "a"}]).endswith("|True")
    assert render(CHATML, BEGUN, continue_final_message=False).endswith("<|im_start|>assistant\n")
    assert render(CHATML, BEGUN, continue_final_message=True, add_generation_prompt=False).endswith(
        "Yes, and"
    )
    with pytest.raises(RequestError, match="continue_final_message and add_generation_prompt are"):
        render(CHATML, BEGUN, continue_final_message=True, add_generation_prompt=True)


@pytest.mark.parametrize(
    "messages", [[], [{"role": "user"}], [{"role": "user", "content": [{"type": "image"}]}]]
)
def test_without_a_text_there_is_nothing_to_continue(messages):
    with pytest.raises(RequestError, match="the last message has no text to continue"):
        render(CHATML, messages, continue_final_message=True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content }}",
        # the mark is there, but not all of the text, as with templates that cut thinking out
        "{{ messages[-1].content.split(',')[-1] }}",
        "{{ messages[-1].content | replace('Yes', 'No') }}",
    ],
)
def test_a_template_that_changes_the_final_message_cannot_continue_it(template):
    with pytest.raises(ChatTemplateError, match="does not render the content of the last message"):
        render(template, BEGUN, continue_final_message=True)


def test_another_field_of_the_final_message_is_continued():
    template = "{% for m in messages %}<think>{{ m.NAME }}</think>{{ m.content }}{% endfor %}"
    for name in ("reasoning_content", "thinking"):
        for field in ("reasoning_content", "thinking", "reasoning"):
            messages = [{"role": "assistant", "content": "Yes", field: "so far "}]
            rendered = render(
                template.replace("NAME", name), messages, continue_final_message=field
            )
            assert rendered == "<think>so far "
    with pytest.raises(RequestError, match="give one whose 'thinking' is the beginning"):
        render(template, BEGUN, continue_final_message="thinking")


# Fields of messages, as transformers reads them


def test_a_field_that_is_none_is_left_out():
    template = "{% for m in messages %}{{ m.content }}{{ m.tool_calls is defined }}{% endfor %}"
    call = {"role": "assistant", "content": None, "tool_calls": []}
    assert render(template, [call, {**call, "tool_calls": None}]) == "TrueFalse"


@pytest.mark.parametrize("field", ["reasoning_content", "thinking", "reasoning"])
def test_a_reasoning_is_found_under_its_usual_names(field):
    template = "{{ messages[0].reasoning_content }}{{ messages[0].thinking }}"
    assert render(template, [{"role": "assistant", field: "hm"}]) == "hmhm"


class TransformersGeneration(jinja2.ext.Extension):
    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(lineno)

    def _render(self, caller):
        return caller()


def render_as_transformers(template, messages, **variables):
    """The oracle: the environment that transformers' apply_chat_template sets up, without any
    limit.
    """
    return transformers_template(template).render(
        **{"tools": None, "documents": None, "bos_token": "", "eos_token": "", **variables},
        messages=messages,
        add_generation_prompt=True,
    )


@functools.cache
def transformers_template(template):
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[TransformersGeneration, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = (
        lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )
    )
    return environment.from_string(template)


SAME_AS_TRANSFORMERS = [
    CHATML,
    (
        "a\n  {% if true %}\n    b\n  {# c #}\n  {%+ if "
        "true %}\nd\n{% endif -%}\n  {% endif +%}\n e\n\n"
    ),
    # loops
    (
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}"
        "{{ loop.last }}{{ loop.revindex }} {% endfor %}"
    ),
    (
        "{% for m in messages | selectattr('role', 'equalto', 'user') %}"
        "{{ loop.length }}{{ m.content }}{% endfor %}"
    ),
    (
        "{% for m in messages if m.role == 'user' %}"
        "{{ loop.index }}{{ m.content }}{% else %}none{% endfor %}"
    ),
    "{% for m in nothing %}x{% else %}none{% endfor %}",
    (
        "{% for x in [[1, [2]], 3] recursive %}"
        "{{ '[' ~ loop(x) ~ ']' if x is iterable else x }}{% endfor %}"
    ),
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for m in messages[::-1] %}{{ loop.previtem.role if loop.index0 }}{{ m.role }}{% endfor %}",
    (
        "{% for m in messages %}{% for i in range(2) %}"
        "{{ 'aa'.replace('a', m.role, 1) }}{% endfor %}{% endfor %}"
    ),
    (
        "{% for m in messages %}{{ loop.changed(1) }}"
        "{{ ','.join(m.keys()) }}{{ '{}'.format(m.role) }}{% endfor %}"
    ),
    # values
    (
        "{% set ns = namespace(n=0) %}{% for m in messages %}"
        "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
    ),
    (
        "{% set ns = namespace(s='') %}{% for m in messages %}"
        "{% set ns.s = ns.s ~ m.role %}{% endfor %}{{ ns.s }}"
    ),
    "{{ 'a' ~ 1 ~ none ~ [1, 'x'] ~ nothing }}{{ messages[1:] }}{{ 'abc'[::-1] }}",
    (
        "{{ [1] + [2] }}{{ [0] * 3 }}{{ 3 * 'ab' }}{{ (1, 2) * 2 }}"
        "{{ 2 ** 10 }}{{ 2 ** -1 }}{{ 1.5 * 2 }}{{ 7 % 4 }}"
    ),
    (
        "{{ 1 < 2 < 3 }}{{ 'user' in messages[0].role }}"
        "{{ messages[0] == messages[1] }}{{ [1, [2]] == [1, [2]] }}"
    ),
    (
        "{{ messages[0].content.split(' ')[-1].strip().upper() }}"
        "{{ ', '.join(['a', 'b']) }}{{ 'a b'.split() }}"
    ),
    "{{ 'x'.ljust(3) }}|{{ 'x'.zfill(3) }}|{{ 'a\nb'.splitlines() }}{{ 'a,b'.rsplit(',', 1) }}",
    (
        "{{ '%s has %03d' | format('a', 7) }}{{ '%-4s|%.2f%%' % ('a', 1.5) }}"
        "{{ '%(k)s' % {'k': 1} }}{{ '%s' % 'b' }}"
    ),
    "{{ '{} {:>5} {x[0]} {y.role!r} {z:{w}}'.format('a', 2, x=[1], y=messages[0], z=1, w=3) }}",
    (
        "{{ none }}{{ true }}{{ 1.5 }}{{ nothing }}"
        "{{ messages[0].nothing is defined }}{{ messages[0]['role'] }}"
    ),
    # filters and tests
    (
        "{{ messages | map(attribute='role') | join(', ') }}"
        "{{ messages | join('-', attribute='role') }}"
    ),
    (
        "{{ [1, 'a', none] | join }}{{ messages | length }}"
        "{{ messages | map(attribute='role') | unique | list }}"
    ),
    (
        "{{ messages | first }}{{ messages | last }}"
        "{{ messages | groupby('role') | map('first') | list }}"
    ),
    (
        "{{ {'b': 1, 'a': 2} | dictsort }}{{ {'b': 1} | items | list }}"
        "{{ [3, 1] | sort }}{{ [3, 1] | max }}"
    ),
    (
        "{{ 'a\nb' | indent(2) }}{{ 'a\n\nb' | indent('> ', first=True) }}"
        "{{ 'Ab' | lower | capitalize }}"
    ),
    (
        "{{ '<a>' | e }}{{ '<' | safe }}{{ ('<' | safe) + '<' }}"
        "{{ ('<' | safe).join('<<') }}{{ 'a' | replace('a', '$') }}"
    ),
    (
        "{{ messages | tojson(indent=4) }}"
        "{{ messages | tojson(separators=(',', ':'), sort_keys=True) }}"
    ),
    (
        "{{ 'ü' | tojson(true) }}{{ [] | tojson }}"
        "{{ {'a': [1.5, none, true]} | tojson }}{{ {} | tojson(indent=1) }}"
    ),
    (
        "{{ '3' | int + 1 }}{{ '1.5' | float }}{{ -1 | abs }}"
        "{{ [1] | string }}{{ 'a b' | title }}{{ 'a' | wordcount }}"
    ),
    (
        "{{ nothing | default('d') }}{{ '' | d('e', true) }}"
        "{{ 'abc' | reverse }}{{ 'long words' | truncate(5) }}"
    ),
    (
        "{{ messages is iterable }}{{ messages[0] is mapping }}"
        "{{ 1 is odd }}{{ 'a' is string }}{{ 3 is eq 3 }}"
    ),
    # blocks
    (
        "{% macro say(x) %}[{{ x }}{{ caller() if caller }}]{% endmacro %}"
        "{{ say(1) }}{% call say(2) %}c{% endcall %}"
    ),
    "{% set x %}a{{ 1 }}{% endset %}{{ x }}{% filter upper %}b{{ 'c' }}{% endfilter %}",
    "{% set y | upper %}z{% endset %}{{ y }}{% with a = 1 %}{{ a }}{% endwith %}{# c #}",
    (
        "{% generation %}{{ messages[0].content }}{% endgeneration %}"
        "{% block b %}{{ messages[0].role }}{% endblock %}"
    ),
    "{% set " + ", ".join("abcdefghijklmnopqrst") + " = 'abcdefghijklmnopqrst' %}{{ [a, t] }}",
    "{{ ("
    + "1, " * 20
    + ") }}{{ 2 in ["
    + "1, " * 20
    + "] }}{{ {"
    + ", ".join(f"{i}: i" for i in range(20))
    + "} }}",
    (
        "{% set j = joiner(', ') %}{% set c = cycler('a', 'b') %}"
        "{{ j() }}{{ c.next() }}{{ j() }}{{ c.next() }}"
    ),
]


@pytest.mark.parametrize("template", SAME_AS_TRANSFORMERS)
def test_a_template_prints_what_transformers_prints(template):
    assert render(template, CHAT) == render_as_transformers(template, CHAT)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant"]), "content": st.text(max_size=30)}
        ),
        max_size=5,
    )
)
def test_any_content_is_printed_as_it_is(messages):
    assert render(CHATML, messages) == render_as_transformers(CHATML, messages)
    assert render("{{ messages | tojson }}", messages) == json.dumps(messages, ensure_ascii=False)


def test_a_long_chat_is_rendered():
    chat = [{"role": "user", "content": "word " * 200} for _ in range(1000)]
    accumulate = """
        {%- set ns = namespace(s='') %}
        {%- for m in messages %}
            {%- set ns.s = ns.s ~ m.content[:50] ~ m.role %}
        {%- endfor %}
        {{- ns.s }}"""
    assert len(render(CHATML, chat)) > 1_000_000
    assert len(render(accumulate, chat)) == 54_000


# What is refused


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ("hi", "messages is str, but must be a list of {'role': ..., 'content': ...}"),
        (USER, "messages is dict, but must be a list of {'role': ..., 'content': ...}"),
        (None, "messages is NoneType, but must be a list of {'role': ..., 'content': ...}"),
        ([USER, "hi"], "messages[1] is str, but must be a dict with a 'role'"),
        (
            [USER, {"content": "hi"}],
            "messages[1]['role'] is None, but must be a str such as 'user'",
        ),
        ([{"role": 1}], "messages[0]['role'] is 1, but must be a str such as 'user'"),
    ],
)
def test_malformed_messages_are_refused_by_index(messages, complaint):
    with pytest.raises(RequestError) as error:
        render(CHATML, messages)
    assert str(error.value) == complaint


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (
            "{{ raise_exception('roles must alternate') }}",
            "the chat template refuses the messages: roles must alternate",
        ),
        (
            "a\n{% if %}",
            (
                "the chat template is broken in line 2: Expected "
                "an expression, got 'end of statement block'"
            ),
        ),
        ("\n\n{% generation %}", "the chat template is broken in line 3: "),
        ("{{ x | nosuch }}", "the chat template is broken in line 1: No filter named 'nosuch'."),
        ("{{ messages[9].role }}", "the chat template failed: list object has no element 9"),
        (
            "{{ messages[0].tool.name }}",
            "the chat template failed: 'dict object' has no attribute 'tool'",
        ),
        ("{{ nothing() }}", "the chat template failed: 'nothing' is undefined"),
        ("{{ 'a' + 1 }}", 'the chat template failed: can only concatenate str (not "int") to str'),
        (
            "{{ nothing | tojson }}",
            "the chat template failed: Object of type Undefined is not JSON serializable",
        ),
        (
            "{% include '/etc/passwd' %}",
            "the chat template failed: no loader for this environment specified",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "the chat template failed: maximum recursion depth exceeded",
        ),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "the chat template failed: "),
        (
            "{% for a in b %}" * 25 + "{% endfor %}" * 25,
            "the chat template failed: too many statically nested blocks",
        ),
        (None, "the chat template is NoneType, but must be a str"),
        (
            " " * (chat_template.MAX_TEMPLATE_CHARACTERS + 1),
            "the chat template was stopped: its source has more than 131072",
        ),
    ],
    ids=range(15),
)
def test_a_failing_template_gives_its_own_words(template, complaint):
    with pytest.raises(ChatTemplateError) as error:
        render(template)
    assert str(error.value).startswith(complaint)
    assert "\n" not in str(error.value)


def test_an_error_message_of_a_template_is_cut():
    for template in ("{{ raise_exception('x' * 100000) }}", "{{ {}['x' * 100000].y }}"):
        with pytest.raises(ChatTemplateError) as error:
            render(template)
        assert len(str(error.value)) < 2100


# Attacks on Python


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'].__mro__ }}",
        "{{ messages.__class__.__base__ }}",
        "{{ ('' | attr('__class__')).__mro__ }}",
        "{{ ([''] | map(attribute='__class__') | first).__mro__ }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ strftime_now.__code__.co_consts }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ (messages | map('upper')).gi_frame.f_globals }}",
        "{% macro m() %}{% endmacro %}{{ m._environment.globals }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ '{0[__class__].__mro__}'.format('') }}",
        "{{ ('{0.__class__.__mro__}' | attr('format'))('') }}",
        "{{ ('{0.__class__.__mro__}' | safe).format('') }}",
        "{{ '{x}'.format_map({'x': 1}) }}",
        "{{ ''.format.__self__.environment }}",
        "{{ messages.append({}) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ messages[0].pop('role') }}",
        "{{ dict.fromkeys('ab') }}",
    ],
)
def test_a_template_cannot_reach_python_or_change_the_messages(template):
    messages = [dict(USER)]
    with pytest.raises(ChatTemplateError, match=r"^the chat template was stopped: "):
        render(template, messages)
    assert messages == [USER]


def test_a_template_cannot_call_what_the_caller_passed_inside_a_value():
    calls = []

    class Tool:
        def run(self):
            calls.append(1)

    for tool, template in (
        (lambda: calls.append(1), "{{ tools[0]() }}"),
        (Tool(), "{{ tools[0].run() }}"),
        (Tool, "{{ tools[0]() }}"),
    ):
        with pytest.raises(
            ChatTemplateError, match=r"^the chat template was stopped: .* is not safely callable"
        ):
            render(template, tools=[tool])
    assert not calls
    assert render("{{ tools.get('a') }}", tools=OrderedDict(a=1)) == "1"


# Attacks on memory and time


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(template_budget, "MAX_CHARACTERS", 500_000)
    monkeypatch.setattr(template_budget, "MAX_TOTAL_CHARACTERS", 5_000_000)
    monkeypatch.setattr(template_budget, "MAX_SECONDS", 60.0)


def grow(start, step, use=""):
    loop = "{% for i in range(60) %}{% set ns.x = " + step + " %}{% endfor %}"
    return "{% set ns = namespace(x=" + start + ") %}" + loop + use


def keep(step):
    """A loop whose every result is small enough, and that keeps them all."""
    values = (
        "{% set x = 'x' * 400000 %}{% set r = range(1000) | list %}"
        "{% set d = dict(r | groupby('real')) %}"
    )
    loop = "{% for i in range(1000) %}{% set ns.l = [ns.l, " + step + "] %}{% endfor %}"
    return "{% set ns = namespace(l=[]) %}" + values + loop


# Lists that hold the previous list twice: they print 2 ** 60 times what they hold.
LAUGHS = grow("['ha']", "[ns.x, ns.x]")
X = "{% set x = 'x' * 100000 %}"

MEMORY_BOMBS = {
    "repeat a string": "{{ 'x' * 1000000000 }}",
    "repeat from the left": "{{ 1000000000 * 'x' }}",
    "repeat a list": "{{ ([0] * 100000000) | length }}",
    "repeat a tuple": "{{ ((0,) * 100000000) | length }}",
    "power": "{{ 2 ** 100000000 }}",
    "power of a product": "{{ (10 ** 1000) ** 100000 }}",
    "squares": grow("3", "ns.x * ns.x", "{{ ns.x }}"),
    "double with +": grow("'x'", "ns.x + ns.x", "{{ ns.x }}"),
    "double with ~": grow("'x'", "ns.x ~ ns.x", "{{ ns.x }}"),
    "double a list": grow("[1]", "ns.x + ns.x", "{{ ns.x | length }}"),
    "double with format": grow("'x'", "'{0}{0}'.format(ns.x)", "{{ ns.x }}"),
    "double with %": grow("'x'", "'%s%s' % (ns.x, ns.x)", "{{ ns.x }}"),
    "double with join": grow("'x'", "[ns.x, ns.x] | join", "{{ ns.x }}"),
    "double in a set block": "{% set ns = namespace(x='x') %}{% for i in range(60) %}"
    "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "double in a macro": "{% macro d(s) %}{{ s }}{{ s }}{% endmacro %}" + grow("'x'", "d(ns.x)"),
    "double by recursion": (
        "{% macro d(s, n) %}{{ d(s ~ s, n - 1) if n else s }}{% endmacro %}{{ d('x', 60) }}"
    ),
    "percent width": "{{ '%1000000000d' % 1 }}",
    "percent precision": "{{ '%.1000000000f' % 1.0 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "percent with parentheses": "{{ '%(a(b))1000000000d' % {'a(b)': 1} }}",
    "percent with a flag": "{{ '%-+ #01000000000d' % 1 }}",
    "percent one key often": X + "{{ ('%(k)s' * 10000) % {'k': x} }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "format width": "{{ '{:1000000000}'.format(1) }}",
    "format precision": "{{ '{:.1000000000f}'.format(1.0) }}",
    "format nested width": "{{ '{:{w}}'.format(1, w=1000000000) }}",
    "format one field often": X + "{{ ('{0}' * 10000).format(x) }}",
    "format through getitem": "{{ ''['format'] }}{{ '{:1000000000}'['format'](1) }}",
    "format through attr": "{{ ('{:1000000000}' | attr('format'))(1) }}",
    "ljust": "{{ 'x'.ljust(1000000000) }}",
    "rjust": "{{ 'x'.rjust(1000000000) }}",
    "center": "{{ 'x'.center(1000000000) }}",
    "zfill": "{{ 'x'.zfill(1000000000) }}",
    "expandtabs": "{{ '\\t'.expandtabs(1000000000) }}",
    "translate": X + "{{ x.translate({120: x}) }}",
    "to_bytes": "{{ (1).to_bytes(1000000000, 'big') }}",
    "replace": X + "{{ x.replace('x', x) }}",
    "replace nothing": X + "{{ x.replace('', x) }}",
    "replace filter": X + "{{ x | replace('x', x) }}",
    "join": X + "{{ x.join(x) }}",
    "join filter": X + "{{ range(100000) | join(x) }}",
    "join a lazy list": X + "{{ range(100000) | map('string') | join(x) }}",
    "join shared strings": X + "{{ ([x] * 5000) | join }}",
    "indent by spaces": "{{ ('x\\n' * 1000) | indent(1000000) }}",
    "indent by a string": "{% set x = 'x\\n' * 100000 %}{{ x | indent(x) }}",
    "tojson indent": "{{ [1] | tojson(indent=1000000000) }}",
    "tojson indent of many": "{{ ([[]] * 5000) | tojson(indent=9999) }}",
    "tojson separators": X + "{{ ([1] * 5000) | tojson(separators=(x, x)) }}",
    "split": "{{ ('š ' * 200000).split() | length }}",
    "split at": "{{ ('š,' * 200000).split(',') | length }}",
    "splitlines": "{{ ('š\\n' * 200000).splitlines() | length }}",
    "list of a string": "{{ ('\u0161' * 400000) | list | length }}",
    "sort a string": "{{ ('\u0161' * 400000) | sort | length }}",
    "print shared lists": LAUGHS + "{{ ns.x }}",
    "concatenate shared lists": LAUGHS + "{{ 'a' ~ ns.x }}",
    "string of shared lists": LAUGHS + "{{ ns.x | string }}",
    "upper of shared lists": LAUGHS + "{{ ns.x | upper }}",
    "tojson of shared lists": LAUGHS + "{{ ns.x | tojson }}",
    "join of shared lists": LAUGHS + "{{ [ns.x] | join }}",
    "percent of shared lists": LAUGHS + "{{ '%s' % [ns.x] }}",
    "format of shared lists": LAUGHS + "{{ '{}'.format(ns.x) }}",
    "format repr of shared lists": LAUGHS + "{{ '{!r:.1}'.format(ns.x) }}",
    "compare shared lists": LAUGHS + "{% set y = ns.x %}" + LAUGHS + "{{ ns.x == y }}",
    "test shared lists": LAUGHS + "{% set y = ns.x %}" + LAUGHS + "{{ ns.x is eq y }}",
    "shared namespaces": grow("1", "namespace(a=ns.x, b=ns.x)", "{{ ns.x }}"),
    "shared dicts": grow("1", "{'a': ns.x, 'b': ns.x}", "{{ ns.x }}"),
    "much text": "{% for i in range(100000) %}" + "x" * 1000 + "{% endfor %}",
    "much output": "{% set x = 'x' * 10000 %}{% for i in range(100000) %}{{ x }}{% endfor %}",
    "many strings kept": keep("x ~ i"),
    "many sums kept": keep("x + 'y'"),
    "many slices kept": keep("x[1:]"),
    "many methods' results kept": keep("x.upper()"),
    "many filters' results kept": keep("x | upper"),
    "many formats kept": keep("'{}'.format(x)"),
    "many dicts kept": keep("dict(d)"),
    "many namespaces kept": keep("namespace(d)"),
    "many cyclers kept": keep("cycler(*r)"),
    "many list literals kept": keep("[" + "0, " * 1000 + "]"),
    "many tuple literals kept": keep("(" + "i, " * 1000 + ")"),
    "many dict literals kept": keep("{" + ", ".join(f"{i}: i" for i in range(1000)) + "}"),
    "strftime": "{{ strftime_now('%255Y' * 80000) }}",
}


@pytest.mark.parametrize("template", MEMORY_BOMBS.values(), ids=MEMORY_BOMBS)
@pytest.mark.usefixtures("small_limits")
def test_a_memory_bomb_is_stopped_before_it_takes_memory(template):
    tracemalloc.start()
    try:
        with pytest.raises(
            ChatTemplateError,
            match=r"^the chat template was stopped: (it makes|it formats|access to attribute)",
        ):
            render(template)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000  # stopped values would take 10 MB or more, the limits allow 6.5 MB


@pytest.mark.parametrize(
    "name", ["range", "lipsum", "center filter", "batch filter", "sum filter", "slice filter"]
)
def test_what_has_no_use_in_a_chat_template_is_missing_or_small(name):
    template = {
        "range": "{{ range(1000000000) | list }}",
        "lipsum": "{{ lipsum(n=1000000000) }}",
        "center filter": "{{ 'x' | center(1000000000) }}",
        "batch filter": "{{ [1] | batch(1000000000, 'x') | list }}",
        "sum filter": "{{ ([[0] * 1000] * 100000) | sum(start=[]) }}",
        "slice filter": "{{ [1] | slice(1000000000) | list }}",
    }[name]
    with pytest.raises(
        ChatTemplateError, match=r"Range too big|'lipsum' is undefined|No filter named"
    ):
        render(template)


ENDLESS = {
    "ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "lists": "{% for a in r %}{% for b in r %}{% for c in r %}{% endfor %}{% endfor %}{% endfor %}",
    "loop filter": "{% for a in r %}{% for b in r if b is string %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for a in r recursive %}{{ loop(r) if loop.depth < 9 }}{% endfor %}",
    "macros": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
    ),
    "filters": (
        "{% for a in r %}"
        "{% set x = r | map('string') | select('string') | list | length %}{% endfor %}"
    ),
    "comparisons": "{% set x = 'x' * 400000 %}{% for a in r %}{% set z = 'yx' in x %}{% endfor %}",
}


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_template_is_stopped_after_a_while(template, monkeypatch):
    monkeypatch.setattr(template_budget, "MAX_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(
        ChatTemplateError,
        match=r"^the chat template was stopped: it runs for more than 0\.2 seconds$",
    ):
        render("{% set r = range(99999) %}" + template)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("limit", "value", "template", "words"),
    [
        (
            "MAX_CHARACTERS",
            100,
            "{{ 'x' * %d }}",
            "a value or a prompt of more than 100 characters",
        ),
        (
            "MAX_CHARACTERS",
            100,
            "{%% for i in range(%d) %%}x{%% endfor %%}",
            "a value or a prompt of more than 100 char",
        ),
        ("MAX_INTEGER_BITS", 100, "{{ 2 ** %d > 0 }}", "an integer of more than 100 bits"),
        ("MAX_FIELD_WIDTH", 100, "{{ '%%%dd' %% 1 }}", "a field of more than 100 characters"),
        ("MAX_FIELD_WIDTH", 100, "{{ '{:%d}'.format(1) }}", "a field of more than 100 characters"),
        (
            "MAX_TOTAL_CHARACTERS",
            100,
            "{{ ('x' * %d) | length }}",
            "values of more than 100 characters in total",
        ),
    ],
)
def test_a_limit_refuses_what_is_above_it_and_no_less(monkeypatch, limit, value, template, words):
    monkeypatch.setattr(template_budget, limit, value)
    assert render(template % (value // 2 - 2))
    with pytest.raises(ChatTemplateError, match=words):
        render(template % (value + 1))


def test_a_value_that_no_earlier_check_foresees_is_refused_once_it_is_made(monkeypatch):
    monkeypatch.setattr(template_budget, "MAX_CHARACTERS", 100)
    assert render("{{ ('x' * 50 + 'x' * 50) | length }}") == "100"
    for value in ("'x' * 50 + 'x' * 51", "('&' * 50) | e", "messages + messages"):
        with pytest.raises(
            ChatTemplateError, match="a value or a prompt of more than 100 characters"
        ):
            render("{{ (" + value + ") | length }}")


def test_a_text_that_grows_message_by_message_pays_for_its_last_state(monkeypatch):
    monkeypatch.setattr(template_budget, "MAX_TOTAL_CHARACTERS", 100_000)
    loop = "{% for m in messages %}{% set ns.s = ns.s ~ m.content %}KEEP{% endfor %}"
    template = "{% set ns = namespace(s='', t='', l=[]) %}" + loop + "{{ ns.s }}"
    chat = [{"role": "user", "content": "x" * 100}] * 200
    assert render(template.replace("KEEP", ""), chat) == "x" * 20_000
    # what is held elsewhere is still there, and is still paid for
    for keep_it in (
        "{% set ns.l = [ns.l, ns.s] %}",
        "{% set ns.l = ns.l + [ns.s] %}",
        "{% set ns.t = [ns.s, ns.t] %}",
        "{% set x = ns.s %}{% set ns.l = [ns.l, x] %}",
    ):
        with pytest.raises(ChatTemplateError, match="characters in total"):
            render(template.replace("KEEP", keep_it), chat)


# State between renderings


def test_a_rendering_pays_from_its_own_budget(monkeypatch):
    monkeypatch.setattr(template_budget, "MAX_TOTAL_CHARACTERS", 5000)
    monkeypatch.setattr(template_budget, "MAX_SECONDS", 0.3)
    start = time.monotonic()
    while time.monotonic() - start < 0.5:
        assert len(render("{{ 'x' * 1000 }}")) == 1000


def test_a_template_is_compiled_once():
    template = "{{ messages[0].role }} of test_a_template_is_compiled_once"
    hits = chat_template._compile.cache_info().hits
    assert render(template) == render(template)
    assert chat_template._compile.cache_info().hits == hits + 1


def test_templates_are_rendered_in_several_threads():
    template = "{% for m in messages %}{{ m.content | upper ~ loop.index }}{% endfor %}"
    chats = [[{"role": "user", "content": f"c{i}"}] * 50 for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        prompts = list(pool.map(lambda chat: render(template, chat), chats))
    assert prompts == [render_as_transformers(template, chat) for chat in chats]


def test_a_rendering_within_a_rendering_gives_the_outer_one_back_its_budget():
    template = "{{ inner() }}{{ inner() }}{{ other() }}"
    assert (
        render(template, inner=lambda: render("{{ messages[0].role }}"), other=lambda: "!")
        == "useruser!"
    )


def test_callables_of_one_rendering_are_not_callable_in_the_next():
    template = "{{ strftime_now('%Y') if now is none else now() }}"
    assert render(template, now=lambda: "then") == "then"
    with pytest.raises(ChatTemplateError, match="not safely callable"):
        render("{{ now[0]() }}", now=[lambda: "then"])
