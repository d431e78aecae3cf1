"""Every shape of prompt file, golden; every way it can be wrong, with its line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.errors import InputError
from spiritsafe.recipe import Verifier
from spiritsafe.tasks.jsonl import MOST_TAG_VALUES, question_text, read_prompts, to_prompt
from spiritsafe.tasks.verifiers import bare_answer, build

GSM8K = Path(__file__).parents[2].parent / "shared" / "data" / "gsm8k"
USER = {"role": "user", "content": "What is 2 + 2?"}
SYSTEM = {"role": "system", "content": "Be brief."}

GOLDEN = {
    "messages": (
        {"messages": [SYSTEM, USER, {"role": "assistant", "content": "It is 4."}]},
        "It is 4.",
        "It is 4.",
    ),
    "messages without answer": ({"messages": [SYSTEM, USER]}, None, None),
    "messages in parts": (
        {"messages": [SYSTEM, {"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]}]},
        None,
        None,
    ),
    "sharegpt": (
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "What is 2 + 2?"},
                {"from": "gpt", "value": "4"},
            ]
        },
        "4",
        "4",
    ),
    "sharegpt with a system key": (
        {"system": "Be brief.", "conversations": [{"from": "human", "value": "What is 2 + 2?"}]},
        None,
        None,
    ),
    "completion": ({"system": "Be brief.", "prompt": "What is 2 + 2?", "completion": "4"}, "4", "4"),
    "completion as messages": (
        {"prompt": [SYSTEM, USER], "completion": [{"role": "assistant", "content": "4"}]},
        "4",
        "4",
    ),
    "plain": ({"system": "Be brief.", "prompt": "What is 2 + 2?", "answer": 4}, "4", None),
    "plain with solution": (
        {"system": "Be brief.", "prompt": "What is 2 + 2?", "answer": "4", "solution": "2 + 2 = 4"},
        "4",
        "2 + 2 = 4",
    ),
    "question": ({"system": "Be brief.", "question": "What is 2 + 2?", "answer": "four"}, "four", None),
    "gsm8k": (
        {
            "system": "Be brief.",
            "question": "What is 2 + 2?",
            "answer": "It is 2 + 2 = $<<2+2=4>>4.\nIn cents <<4*500=2000>>2,000.\n#### 2,000",
        },
        "2000",
        "It is 2 + 2 = $4.\nIn cents 2,000.\n#### 2,000",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_shape(name: str) -> None:
    line, answer, solution = GOLDEN[name]
    prompt = to_prompt(line)
    assert list(prompt.messages) == [SYSTEM, USER]
    assert (prompt.answer, prompt.solution) == (answer, solution)
    assert prompt.prompt_id == to_prompt(GOLDEN["messages"][0]).prompt_id


def test_alpaca_joins_instruction_and_input() -> None:
    prompt = to_prompt({"instruction": "Translate.", "input": "Guten Tag", "output": "Good day"})
    assert question_text(prompt) == "Translate.\n\nGuten Tag"
    assert prompt.answer == prompt.solution == "Good day"
    assert question_text(to_prompt({"instruction": "Sing.", "input": ""})) == "Sing."


def test_history_stays_in_the_prompt() -> None:
    turns = [USER, {"role": "assistant", "content": "4"}, {"role": "user", "content": "And 3 + 3?"}]
    prompt = to_prompt({"messages": [*turns, {"role": "assistant", "content": "6"}]})
    assert list(prompt.messages) == turns
    assert prompt.answer == "6"


def test_task_system_joins_the_lines_own_and_leaves_the_id() -> None:
    prompt = to_prompt({"messages": [SYSTEM, USER]}, "You are a teacher.")
    assert prompt.messages[0] == {"role": "system", "content": "You are a teacher.\n\nBe brief."}
    assert len(prompt.messages) == 2
    assert prompt.prompt_id == to_prompt({"messages": [SYSTEM, USER]}).prompt_id
    assert to_prompt({"prompt": "Hi"}, "You are a teacher.").messages[0]["role"] == "system"


def test_a_heading_is_no_gsm8k_answer() -> None:
    assert to_prompt({"question": "Q?", "answer": "#### Steps\nFirst"}).answer == "#### Steps\nFirst"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_mixed_file_counts_duplicates_and_keeps_small_tags(tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {i}?", "level": i % 3, "id": f"u{i}", "uuid": f"x{i}"} for i in range(30)]
    rows += [{"question": "Question 0?", "answer": "again"}, {"instruction": "Question 31?", "source": "web"}]
    file = read_prompts(write(tmp_path / "p.jsonl", *map(json.dumps, rows), ""))
    assert len(file.prompts) == 31
    assert file.duplicates == 1
    assert len(rows) > MOST_TAG_VALUES
    assert file.prompts[4].tags == {"level": "1"}
    assert file.prompts[-1].tags == {"source": "web"}


BAD = {
    "{": "malformed JSON line: {path}:2: Expecting property name",
    "[1]": "malformed JSON line: {path}:2: a JSON object is expected, got list",
    '{"prompt": NaN}': "malformed JSON line: {path}:2: not a JSON value",
    '{"text": "x"}': "{path}:2: no usable prompt: expected one of messages, conversations",
    '{"prompt": "  "}': "{path}:2: the line has no user message with text",
    '{"messages": []}': "{path}:2: messages must be a list of messages that is not empty",
    '{"messages": [{"role": "assistant", "content": "x"}]}': "{path}:2: the line has no user message",
    '{"messages": [{"role": "boss", "content": "x"}]}': "{path}:2: messages[0] has an unknown role; allowed",
    '{"messages": [{"role": "user", "content": null}]}': "{path}:2: messages[0] has no text content",
    '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}': "{path}:2: messages[0] has a",
    '{"conversations": ["x"]}': "{path}:2: conversations[0] must be an object with role and content",
    '{"prompt": "x", "completion": []}': "{path}:2: completion must be a list of messages",
    '{"prompt": "\\ud83d"}': "{path}:2: the line has half a surrogate pair",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_line_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", '{"prompt": "fine"}', line)
    with pytest.raises(InputError) as caught:
        read_prompts(path)
    assert caught.value.message.startswith(BAD[line].format(path=path))
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the prompts: .*No such file"):
        read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="the file is empty"):
        read_prompts(write(tmp_path / "empty.jsonl", "", "  "))
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9"}')
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_prompts(tmp_path / "latin.jsonl")


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "Hi"}\r\n')
    assert len(read_prompts(tmp_path / "p.jsonl").prompts) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    [
        "messages",
        "conversations",
        "instruction",
        "input",
        "output",
        "prompt",
        "completion",
        "question",
        "answer",
        "solution",
        "system",
    ]
)
turns = st.fixed_dictionaries(
    {},
    optional={
        "role": st.text() | st.just("user"),
        "content": json_values,
        "from": st.text(),
        "value": json_values,
    },
)


@given(st.dictionaries(keys | st.text(max_size=8), json_values | st.lists(turns, max_size=3), max_size=5))
def test_any_line_gives_a_prompt_or_a_reason(line: dict[str, object]) -> None:
    try:
        prompt = to_prompt(line, "System.")
    except ValueError as reason:
        assert str(reason)
    else:
        assert question_text(prompt).strip()
        assert prompt == type(prompt).from_json(json.loads(json.dumps(prompt.to_json())))


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    st.integers(-(10**9), 10**9),
)
def test_gsm8k_lines_round_trip(question: str, number: int) -> None:
    prompt = to_prompt({"question": question, "answer": f"So <<1+1=2>>2.\n#### {number:,}"})
    assert question_text(prompt) == question
    assert prompt.answer == str(number)
    assert prompt.solution == f"So 2.\n#### {number:,}"


@pytest.mark.skipif(not GSM8K.is_dir(), reason="GSM8K is not here")
@pytest.mark.parametrize(("name", "size"), [("test", 1319), ("train", 7473)])
def test_every_gsm8k_answer_is_right_by_itself(name: str, size: int) -> None:
    file = read_prompts(GSM8K / f"{name}.jsonl")
    judge = build(Verifier())
    assert (len(file.prompts), file.duplicates) == (size, 0)
    assert not any("<<" in (prompt.solution or "") for prompt in file.prompts)
    assert all(judge(prompt, prompt.solution or "").correct for prompt in file.prompts)
    assert all(judge(prompt, bare_answer(prompt, Verifier())).correct for prompt in file.prompts)


def test_people_s_preferences_in_three_shapes():
    turns = [{"role": "user", "content": "Say hello."}]
    good, bad = ({"role": "assistant", "content": text} for text in ("Hello!", "No."))
    shapes = [
        {"prompt": "Say hello.", "chosen": "Hello!", "rejected": "No."},
        {"prompt": turns, "chosen": [good], "rejected": [bad]},
        {"chosen": [*turns, good], "rejected": [*turns, bad]},
    ]
    for shape in shapes:
        prompt = to_prompt(shape)
        assert prompt.messages == tuple(turns)
        assert (prompt.answer, prompt.solution, prompt.rejected) == ("Hello!", "Hello!", "No.")
    assert len({to_prompt(shape).prompt_id for shape in shapes}) == 1
    for wrong in ({"chosen": "Hello!", "rejected": "No."}, {"prompt": "p", "chosen": turns, "rejected": "n"}):
        with pytest.raises(ValueError, match="chosen must be an answer"):
            to_prompt(wrong)
