"""What the doctor says about students that would learn the wrong thing."""

from __future__ import annotations

import json

import pytest
from tests.families import FAMILIES, save_family, tokenizer_of
from tests.sorters import save_bert
from tests.tiny import tiny_model, tiny_tokenizer
from typer.testing import CliRunner

from spiritsafe.cli.main import app
from spiritsafe.errors import InputError
from spiritsafe.students.templates import row_of
from spiritsafe.training.doctor import examine, pieces


def found(tokenizer, model=None, rows=(), max_length=100):
    return {f.about: f for f in examine(model or tiny_model(vocab=300), tokenizer, list(rows), max_length)}


def test_a_sound_student_has_no_problems():
    findings = found(tokenizer_of(FAMILIES["qwen3"]))
    assert [f.cure for f in findings.values()] == [None] * 6
    assert findings["end"].text.startswith("a turn ends with <|im_end|>")
    assert findings["reasoning"].text == "<think> </think>, one token each; the model opens it"
    assert "the prompt opens it" in found(tokenizer_of(FAMILIES["r1"]))["reasoning"].text


def test_markers_that_are_no_tokens():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = FAMILIES["qwen2"].template
    assert found(tokenizer)["template"].text == "not tokens of this tokenizer: <|im_end|> <|im_start|>"


def test_two_beginnings():
    tokenizer = tokenizer_of(FAMILIES["llama3"])
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    assert found(tokenizer)["beginning"].text == "<|bos|> stands 2 times in a prompt"


def test_lengths_and_vocabulary():
    tokenizer = tiny_tokenizer()
    row = row_of(tokenizer, 1, [{"role": "user", "content": "ab"}], "cd")
    findings = found(tokenizer, tiny_model(vocab=60), [row, row], max_length=6)
    assert findings["length"].text == "2 rows, median 8 tokens, longest 8, 2 above train.max_length"
    assert findings["length"].cure == "train.max_length: 8"
    assert findings["vocabulary"].cure


def test_a_row_shows_what_counts():
    tokenizer = tiny_tokenizer()
    row = row_of(tokenizer, 1, [{"role": "user", "content": "ab"}], "cd")
    shown = pieces(tokenizer, row)
    assert "".join(text for text, _ in shown) == "<|user|>ab<|end|><|assistant|>cd<|end|>"
    assert "".join(text for text, counts in shown if counts) == "cd<|end|>"


def test_the_verb(tmp_path):
    folder = save_family("qwen3", tmp_path / "m")
    arguments = ["doctor", "--out", str(tmp_path / "run"), "--set", f"student.model={folder}", "--show-row"]
    small = ["--set", "task.train_prompts=20", "--set", "train.max_length=900"]
    value = json.loads(CliRunner().invoke(app, [*arguments, *small, "--json"]).stdout)
    assert {f["about"] for f in value["findings"]} >= {"template", "end", "reasoning", "length"}
    counted = "".join(piece["text"] for piece in value["row"] if piece["counts"])
    assert counted.startswith("<think>\n\n</think>\n\n") and counted.endswith("<|im_end|>")
    text = CliRunner().invoke(app, [*arguments, *small]).stdout
    assert "ok      end         a turn ends with <|im_end|>" in text


def test_the_verb_fails_on_a_problem(tmp_path):
    folder = save_family("qwen3", tmp_path / "m")
    arguments = ["doctor", "--out", str(tmp_path / "run"), "--set", f"student.model={folder}"]
    short = CliRunner().invoke(app, [*arguments, "--set", "task.train_prompts=20"])
    assert isinstance(short.exception, InputError)
    with pytest.raises(InputError, match="1 problem"):
        raise short.exception
    assert "train.max_length" in short.exception.hint


def test_a_classifier_is_looked_at_as_what_it_is(tmp_path, call):
    write = [
        f'{{"prompt": "{"long " * (n % 3) * 20}text {n}", "answer": "{"ab"[n % 2]}"}}\n' for n in range(60)
    ]
    (tmp_path / "p.jsonl").write_text("".join(write))
    settings = {
        "task.kind": "jsonl",
        "task.path": tmp_path / "p.jsonl",
        "task.verifier": "{kind: label, labels: [a, b]}",
        "student": f"{{kind: classifier, model: {save_bert(tmp_path / 'bert')}}}",
        "train.max_length": 500,
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with pytest.raises(InputError, match="1 problem") as caught:
        call("doctor", *sets)
    assert caught.value.hint == "context: train.max_length: 256, or a checkpoint that reads more"
    told = call("doctor", *sets, "--set", "train.max_length=250", "--show-row").stdout
    assert "2 labels: a, b" in told and "longest 207" in told
