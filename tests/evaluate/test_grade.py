import json

import pytest

from spiritsafe import recipe
from spiritsafe.errors import CorruptData
from spiritsafe.evaluate.grade import Graded, answer, grade_replies, majority, read_graded
from spiritsafe.records import Message, Prompt, Reply

NUMERIC = recipe.Verifier(kind="numeric")
SETTINGS = recipe.Evaluate(max_tokens=16, batch_size=4)


def prompt(name, number, level="1"):
    message = Message(role="user", content=f"What is {number} times 2? {'please ' * (number % 5)}".strip())
    return Prompt(prompt_id=name, messages=(message,), answer=str(2 * number), tags={"level": level})


PROMPTS = {
    "test": [prompt(f"t{i}", i, str(i % 3)) for i in range(10)],
    "unseen": [prompt(f"u{i}", i + 20) for i in range(3)],
}


class Doubler:
    """Answers right but for numbers divisible by 5; counts the calls and can die in one of them."""

    def __init__(self, dies_in_call=None):
        self.calls, self.dies_in_call = [], dies_in_call

    def generate(self, requests, *, thinking_tokens=None):
        if len(self.calls) == self.dies_in_call:
            raise KeyboardInterrupt
        self.calls.append([request.prompt_id for request in requests])
        assert all(r.sampling.temperature == 0 and r.sampling.max_tokens == 16 for r in requests)
        return [self.reply(int(r.messages[0]["content"].split()[2])) for r in requests]

    def reply(self, number):
        if number == 5:
            return Reply(text="let me think about", finish_reason="length")
        return Reply(text=f"so #### {2 * number + (number % 5 == 0)}")


def run(model, path, key="model-a", settings=SETTINGS, prompts=PROMPTS, progress=None):
    return answer(model, prompts, settings, NUMERIC, path, key=key, progress=progress)


def test_answers_are_judged_in_the_order_of_the_prompts(tmp_path):
    seen = []
    rows = run(Doubler(), tmp_path / "a.jsonl", progress=lambda done, total: seen.append((done, total)))
    assert [(row.slice, row.prompt_id) for row in rows] == [
        (name, p.prompt_id) for name, of_slice in PROMPTS.items() for p in of_slice
    ]
    assert [row.prompt_id for row in rows if not row.correct] == ["t0", "t5", "u0"]
    assert rows[1] == Graded(
        prompt_id="t1", slice="test", correct=True, text="so #### 2", extracted="2", tags={"level": "1"}
    )
    assert seen == [(4, 13), (8, 13), (12, 13), (13, 13)]


def test_an_answer_cut_off_says_so(tmp_path):
    rows = run(Doubler(), tmp_path / "a.jsonl")
    assert rows[5].reason == "cut_off"
    assert rows[0].reason not in (None, "cut_off")


def test_the_file_is_read_back_and_a_second_run_asks_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = run(Doubler(), path)
    assert sorted(map(str, read_graded(path))) == sorted(map(str, rows))
    again = Doubler(dies_in_call=0)
    assert run(again, path) == rows


@pytest.mark.parametrize("call", [0, 1, 2, 3])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, call):
    run(Doubler(), tmp_path / "whole.jsonl")
    path = tmp_path / "killed.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(Doubler(dies_in_call=call), path)
    rest = Doubler()
    run(rest, path)
    assert len(rest.calls) == 4 - call
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_every_cut_of_the_file_is_mended(tmp_path):
    run(Doubler(), tmp_path / "whole.jsonl")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    path = tmp_path / "cut.jsonl"
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        run(Doubler(), path)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "change",
    [
        {"key": "model-b"},
        {"settings": SETTINGS.model_copy(update={"max_tokens": 16, "batch_size": 5})},
        {"prompts": {**PROMPTS, "unseen": PROMPTS["unseen"][:2]}},
    ],
)
def test_a_file_made_for_something_else_is_not_reused(tmp_path, change):
    path = tmp_path / "a.jsonl"
    run(Doubler(), path)
    model = Doubler()
    rows = run(model, path, **change)
    assert sum(map(len, model.calls)) == len(rows)


def test_collected_answers_are_judged_and_a_missing_one_is_wrong():
    rows = grade_replies({"test": PROMPTS["test"][:3]}, {"t0": "#### 0", "t1": "#### 7"}, NUMERIC)
    assert [row.correct for row in rows] == [True, False, False]
    assert rows[2].reason == "no_answer"
    assert rows[2].tags == {"level": "2"}


def test_rows_without_a_key_line_are_read_and_foreign_rows_are_refused(tmp_path):
    rows = grade_replies({"test": PROMPTS["test"][:2]}, {"t0": "#### 0"}, NUMERIC)
    path = tmp_path / "teacher.jsonl"
    path.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    assert read_graded(path) == rows
    path.write_text('{"something": "else"}\n')
    with pytest.raises(CorruptData, match=r"teacher\.jsonl"):
        read_graded(path)


def test_what_nobody_can_judge_is_left_out_for_all_models_alike(tmp_path):
    """A student cut off and a teacher without an answer have the same problems in the end."""
    bare = [Prompt(prompt_id=p.prompt_id, messages=p.messages) for p in PROMPTS["test"]]
    student = run(Doubler(), tmp_path / "s.jsonl", prompts={"test": bare})
    teacher = grade_replies({"test": bare}, {}, NUMERIC)
    assert {row.reason for row in [*student, *teacher]} == {"unverified"}
    assert {row.reason for row in grade_replies({"test": PROMPTS["test"]}, {}, NUMERIC)} == {"no_answer"}


def test_rows_without_a_score_are_read_as_right_or_wrong(tmp_path):
    rows = grade_replies({"test": PROMPTS["test"][:2]}, {"t0": "#### 0", "t1": "#### 7"}, NUMERIC)
    path = tmp_path / "teacher.jsonl"
    old = [{key: value for key, value in row.to_json().items() if key != "score"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert [row.score for row in read_graded(path)] == [1.0, 0.0]
    assert read_graded(path) == rows
    path.write_text(json.dumps({**rows[0].to_json(), "score": 1.5}) + "\n")
    with pytest.raises(CorruptData, match=r"teacher\.jsonl"):
        read_graded(path)


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        (["#### 1", "#### 2", "so 2"], 1),
        (["none", "#### 2", "none either"], 1),  # what holds no answer has no vote
        (["#### 1", "#### 2"], 0),
        (["no", "nothing"], 0),
    ],
)
def test_the_commonest_answer_wins(texts, place):
    assert majority(texts, recipe.Verifier(kind="numeric")) == place
