"""Splits: disjoint, deterministic, of the sizes asked for; and what is said when they cannot be made."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiritsafe.errors import InputError
from spiritsafe.recipe import Task, Verifier
from spiritsafe.records import Prompt
from spiritsafe.tasks.base import _by_question, _take, load_task
from spiritsafe.tasks.jsonl import question_text, to_prompt
from spiritsafe.tasks.verifiers import build


def write(path: Path, questions: Iterable[str]) -> str:
    path.write_text("".join(json.dumps({"prompt": text, "answer": "1"}) + "\n" for text in questions))
    return str(path)


def ids(prompts: Iterable[Prompt]) -> set[str]:
    return {prompt.prompt_id for prompt in prompts}


def test_a_file_is_carved_up_by_content_and_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", (f"Question {i}?" for i in range(400)))
    task = Task(kind="jsonl", path=path, test_prompts=1000, validation_prompts=1000, train_prompts=250)
    splits = load_task(task, 3)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [250, 16, 80]
    assert splits.counts == {"duplicate": 0, "over_limit": 54}
    everything = splits.train + splits.evaluation
    assert len(ids(everything)) == len(everything)
    assert load_task(task, 3) == splits
    assert ids(load_task(task, 4).test) != ids(splits.test)
    reverse = write(tmp_path / "r.jsonl", (f"Question {i}?" for i in reversed(range(400))))
    assert load_task(task.model_copy(update={"path": reverse}), 3) == splits


def test_copies_fall_on_one_side(tmp_path: Path) -> None:
    questions = [text for i in range(200) for text in (f"Question {i}?", f"question  {i}? ")]
    splits = load_task(Task(kind="jsonl", path=write(tmp_path / "p.jsonl", questions)), 0)
    sides = [
        {" ".join(question_text(p).casefold().split()) for p in part}
        for part in (splits.train, splits.validation, splits.test)
    ]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(max_size=3).filter(str.strip), min_size=1, max_size=40),
    st.integers(0, 9),
    st.integers(1, 12),
)
def test_no_question_is_taken_in_part(texts: list[str], seed: int, size: int) -> None:
    prompts = [to_prompt({"prompt": text}) for text in dict.fromkeys(texts)]
    groups = _by_question(prompts, seed)
    taken = _take(groups, size)
    left = {" ".join(question_text(p).casefold().split()) for part in groups.values() for p in part}
    assert len(taken) <= size
    assert not left & {" ".join(question_text(p).casefold().split()) for p in taken}


def test_a_test_file_is_never_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", (f"Question {i}?" for i in range(100)))
    test = write(tmp_path / "t.jsonl", (f"QUESTION {i}?" for i in range(90, 120)))
    splits = load_task(Task(kind="jsonl", path=path, test_path=test, test_prompts=20), 0)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [86, 4, 20]
    assert splits.counts["also_in_test"] == 10


def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", (f"Question {i}?" for i in range(19)))
    with pytest.raises(InputError, match=r"has 19 distinct prompts: too few .*at least 20") as caught:
        load_task(Task(kind="jsonl", path=path), 0)
    assert "task.test_path" in str(caught.value.hint)
    with pytest.raises(InputError, match="no training prompts are left"):
        load_task(Task(kind="jsonl", path=path, test_path=path), 0)


def test_only_prompts_with_an_answer_are_evaluated(tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {i}?", **({"answer": "1"} if i % 10 == 0 else {})} for i in range(100)]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    task = Task(kind="jsonl", path=str(path))
    splits = load_task(task, 0)
    assert len(splits.test) == 10
    assert all(prompt.answer for prompt in splits.test)
    assert len(splits.train) + len(splits.validation) == 90
    path.write_text("\n".join(json.dumps({"prompt": row["prompt"]}) for row in rows))
    with pytest.raises(InputError, match=r"no prompt of .* has an answer, which the verifier numeric"):
        load_task(task, 0)
    ungraded = task.model_copy(update={"verifier": Verifier(kind="none")})
    assert len(load_task(ungraded, 0).test) == 20


def test_schoolbook_splits() -> None:
    task = Task(train_prompts=300, validation_prompts=20, test_prompts=50, unseen_prompts=10, system="Think.")
    splits = load_task(task, 1)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [300, 20, 50]
    assert {name: len(part) for name, part in splits.slices.items()} == {"unseen": 10}
    assert len(splits.evaluation) == 80
    assert not ids(splits.train) & ids(splits.evaluation)
    judge = build(task.verifier)
    for prompt in splits.train:
        assert prompt.messages[0] == {"role": "system", "content": "Think."}
        assert set(prompt.tags) == {"level", "theme", "template"}
        assert judge(prompt, prompt.solution or "").correct


def test_json_answers_are_compared_with_references_for_all_prompts_or_for_none(tmp_path):
    def rows(answered):
        return [
            {"prompt": f"Invoice {n}"} | ({"answer": '{"n": 1}'} if n in answered else {}) for n in range(60)
        ]

    path = tmp_path / "p.jsonl"
    verifier = Verifier(kind="json_schema", json_schema={"type": "object"})
    task = Task(kind="jsonl", path=str(path), test_prompts=10, verifier=verifier)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(range(30))))
    assert all(p.answer is not None for p in load_task(task, 0).test)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(())))
    assert len(load_task(task, 0).test) == 10
