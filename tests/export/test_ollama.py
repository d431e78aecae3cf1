"""Chat templates taken apart and put together again in Ollama's language."""

import pytest
from jinja2 import Environment
from jinja2.exceptions import TemplateError
from tests.families import FAMILIES, tokenizer_of

from spiritsafe.export import ollama

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + CHATML
)
HEADERS = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    "{% endif %}"
)
SYSTEM_IN_USER = (
    "{% if messages[0].role == 'system' %}{% set first = messages[0].content ~ '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% if loop.first %}{{ first }}{% endif %}{{ m.content }}<end_of_turn>\n{% endfor %}"
    "<start_of_turn>model\n"
)
THINKS = CHATML.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")
SYSTEM_IN_LAST = (
    "{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}"
    "{% set ns.system = m.content ~ '\n\n' %}{% elif m.role == 'user' %}[INST] "
    "{% if loop.last %}{{ ns.system }}{% endif %}{{ m.content }}[/INST]{% else %} {{ m.content }}</s>"
    "{% endif %}{% endfor %}"
)


def renderer(template):
    compiled = Environment().from_string(template)
    return lambda messages, more: compiled.render(messages=messages, add_generation_prompt=more)


TALK = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "Is it?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Why?"},
]


@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM, HEADERS, SYSTEM_IN_USER, THINKS])
@pytest.mark.parametrize("messages", [TALK, TALK[:2], TALK[1:], TALK[1:2]])
def test_taken_apart_it_renders_the_same(template, messages):
    render = renderer(template)
    assert ollama.take_apart(render).render(messages) == render(messages, True)


def test_what_a_loop_cannot_say_is_left_alone():
    assert ollama.take_apart(renderer(SYSTEM_IN_LAST)) is None
    assert ollama.take_apart(renderer("{{ messages[-1].content }}")) is None

    def refuses(messages, more):
        raise TemplateError("no system role")

    assert ollama.take_apart(refuses) is None


@pytest.mark.parametrize("name", FAMILIES)
def test_the_templates_of_the_families(name):
    tokenizer = tokenizer_of(FAMILIES[name])
    turns = ollama.template_of(tokenizer)
    talks = [TALK[1:], TALK[1:2], *([] if turns.system is None else [TALK, TALK[:2]])]
    for talk in talks:
        text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        assert f"{tokenizer.bos_token or ''}{turns.render(talk)}" == text
    assert (turns.system is None) == (name in ("mistral", "gemma2"))
    assert turns.stop == FAMILIES[name].end
    assert turns.to_go().count("{{") == 7 + 2 * (turns.system is not None) + 2 * bool(turns.start)


def test_a_template_without_a_system_role_cannot_be_given_a_system_message():
    turns = ollama.template_of(tokenizer_of(FAMILIES["gemma2"]))
    with pytest.raises(ValueError, match="takes no system message"):
        ollama.modelfile("s.gguf", turns, "Be brief.")
    assert "SYSTEM" not in ollama.modelfile("s.gguf", turns, None)


def test_the_modelfile_of_chatml():
    turns = ollama.take_apart(renderer(DEFAULT_SYSTEM))
    assert turns.start == "<|im_start|>system\nBe kind.<|im_end|>\n"
    assert ollama.modelfile("s.gguf", turns, "Answer in one word.") == (
        "FROM ./s.gguf\nPARAMETER temperature 0\n"
        'TEMPLATE """{{ if not .System }}<|im_start|>system\nBe kind.<|im_end|>\n{{ end }}'
        "{{ range .Messages }}"
        '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n<|im_start|>assistant\n'
        '{{ else if eq .Role "assistant" }}{{ .Content }}<|im_end|>\n'
        '{{ end }}{{ end }}"""\n'
        'PARAMETER stop """<|im_end|>"""\n'
        'SYSTEM """Answer in one word."""\n'
    )


def test_text_that_a_modelfile_cannot_quote():
    with pytest.raises(ValueError, match="cannot hold"):
        ollama.modelfile("s.gguf", None, 'Say """ twice.')
    with pytest.raises(ValueError, match="which Ollama"):
        ollama.modelfile("s.gguf", ollama.take_apart(renderer("{% raw %}{{{% endraw %}" + CHATML)), None)
