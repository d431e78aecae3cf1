import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiritsafe.errors import InputError, UsageError
from spiritsafe.records import Origin, Sample, Usage
from spiritsafe.store.exchange import export_samples, import_samples
from spiritsafe.store.foreign import IMPORT_FORMATS, detect_format

WHO = {"origin": "gpt-4o@api.openai.com", "date": "2026-03-31"}

text = st.text(st.characters(exclude_categories=["Cs"]))
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
samples = st.builds(
    Sample,
    request_hash=st.text("0123456789abcdef", min_size=64, max_size=64),
    prompt_id=text.filter(bool),
    messages=st.lists(st.fixed_dictionaries({"role": roles, "content": text}), min_size=1, max_size=3).map(
        tuple
    ),
    text=text,
    reasoning=st.none() | text,
    finish_reason=st.just("stop"),
    index=st.just(0),
    usage=st.just(Usage()),
    cost_usd=st.just(0.0),
    origin=st.just(Origin(teacher="m@local", channel="local", fingerprint=None, date="2026-01-02")),
)


def one(**changes) -> Sample:
    base = Sample(
        request_hash="0" * 64,
        prompt_id="p",
        messages=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}),
        text="4",
        reasoning="two and two",
        finish_reason="stop",
        index=0,
        usage=Usage(),
        cost_usd=0.0,
        origin=Origin(teacher="m@local", channel="local", fingerprint=None, date="2026-01-02"),
    )
    return replace(base, **changes)


def lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("format", ["openai", "sharegpt", "parquet"])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(samples, min_size=1, max_size=4))
def test_what_goes_out_comes_back(tmp_path_factory, format, rows):
    path = tmp_path_factory.mktemp("x") / ("out.parquet" if format == "parquet" else "out.jsonl")
    assert export_samples(rows, path, format) == len(rows)
    assert detect_format(path) == format
    back = import_samples(path, **WHO)
    assert [(s.messages, s.text, s.reasoning) for s in back] == [
        (s.messages, s.text, s.reasoning) for s in rows
    ]
    if format == "parquet":
        assert [s.prompt_id for s in back] == [s.prompt_id for s in rows]
    assert len({s.request_hash for s in back}) == len(back)


def test_exported_rows_look_as_the_formats_say(tmp_path):
    export_samples([one()], tmp_path / "a.jsonl", "openai")
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "2 + 2?"},
            {"role": "assistant", "content": "4", "reasoning_content": "two and two"},
        ]
    }
    export_samples([one(reasoning=None)], tmp_path / "b.jsonl", "sharegpt")
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "2 + 2?"},
            {"from": "gpt", "value": "4"},
        ]
    }
    export_samples([one()], tmp_path / "c.parquet", "parquet")
    (row,) = pq.read_table(tmp_path / "c.parquet").to_pylist()
    assert row["messages"] == row["prompt"] + row["completion"]
    assert row["completion"] == [{"role": "assistant", "content": "4"}]
    assert (row["reasoning_content"], row["teacher"], row["channel"]) == ("two and two", "m@local", "local")


def test_rejected_samples_stay_home(tmp_path):
    rows = [one(accepted=True), one(accepted=False, reject_reason="wrong"), one()]
    assert export_samples(rows, tmp_path / "a.jsonl", "openai") == 2
    assert export_samples(rows, tmp_path / "a.jsonl", "openai", rejected=True) == 3


def test_unknown_formats_name_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="csv") as error:
        export_samples([], tmp_path / "a", "csv")
    assert error.value.hint == "formats: openai, sharegpt, parquet"
    with pytest.raises(UsageError, match="csv"):
        import_samples(lines(tmp_path / "a", {}), "csv", **WHO)


@pytest.mark.parametrize(
    ("who", "problem"),
    [
        ({"origin": None, "date": "2026-03-31"}, "needs an origin"),
        ({"origin": "  ", "date": "2026-03-31"}, "needs an origin"),
        ({"origin": "m@h", "date": None}, "needs a date"),
        ({"origin": "m@h", "date": "31.3.2026"}, "not an ISO date: '31.3.2026'"),
    ],
)
def test_origin_and_date_are_required(tmp_path, who, problem):
    with pytest.raises(UsageError, match=problem):
        import_samples(lines(tmp_path / "a", {"messages": []}), **who)


def test_imported_samples_carry_their_origin(tmp_path):
    export_samples([one(), one(), one(text="four")], tmp_path / "a.jsonl", "openai")
    back = import_samples(tmp_path / "a.jsonl", **WHO)
    assert back[0].origin == Origin(
        teacher="gpt-4o@api.openai.com", channel="import", fingerprint=None, date="2026-03-31"
    )
    assert [s.index for s in back] == [0, 1, 2]
    assert {s.prompt_id for s in back} == {back[0].prompt_id}
    assert back == import_samples(tmp_path / "a.jsonl", **WHO)
    elsewhere = import_samples(tmp_path / "a.jsonl", origin="other@host", date="2026-03-31")
    assert {s.request_hash for s in back}.isdisjoint(s.request_hash for s in elsewhere)


def test_alpaca(tmp_path):
    rows = [
        {"instruction": "Translate.", "input": "Haus", "output": "house"},
        {"instruction": "Say hello.", "input": "", "output": "hello", "system": "Be kind."},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2))
    first, second = import_samples(tmp_path / "a.json", **WHO)
    assert first.messages == ({"role": "user", "content": "Translate.\n\nHaus"},)
    assert first.text == "house"
    assert second.messages == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Say hello."},
    )
    assert import_samples(lines(tmp_path / "b.jsonl", *rows), "alpaca", **WHO) == [first, second]


def test_parquet_of_prompt_and_completion_texts(tmp_path):
    pq.write_table(
        pa.table({"prompt": ["2 + 2?"], "completion": ["4"], "prompt_id": [7]}), tmp_path / "a.parquet"
    )
    (sample,) = import_samples(tmp_path / "a.parquet", **WHO)
    assert (sample.messages, sample.text) == (({"role": "user", "content": "2 + 2?"},), "4")
    assert sample.prompt_id == "7"


def test_content_parts_are_joined(tmp_path):
    parts = [{"type": "text", "text": "2 + "}, {"type": "text", "text": "2?"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": "4"}]
    (sample,) = import_samples(lines(tmp_path / "a", {"messages": turns}), **WHO)
    assert sample.messages == ({"role": "user", "content": "2 + 2?"},)


def batch_line(name, *answers, **extra):
    body = {
        "model": "gpt-4o",
        "system_fingerprint": "fp_7",
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "completion_tokens_details": {"reasoning_tokens": 2},
            "prompt_tokens_details": {"cached_tokens": 4},
        },
        "choices": [
            {"index": n, "message": {"role": "assistant", "content": a}, "finish_reason": "stop"}
            for n, a in enumerate(answers)
        ],
    }
    return {
        "id": "b",
        "custom_id": name,
        "response": {"status_code": 200, "body": body},
        "error": None,
        **extra,
    }


def asked(name, question):
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_batch_output_is_joined_with_its_input(tmp_path):
    sent = lines(tmp_path / "in.jsonl", asked("a", "2 + 2?"), asked("b", "3 + 3?"))
    got = lines(tmp_path / "out.jsonl", batch_line("b", "6", "six"), batch_line("a", "4"))
    six, also, four = import_samples(got, batch_input=sent, **WHO)
    assert [s.text for s in (six, also, four)] == ["6", "six", "4"]
    assert six.messages == also.messages == ({"role": "user", "content": "3 + 3?"},)
    assert (four.prompt_id, four.messages[0]["content"]) == ("a", "2 + 2?")
    assert four.usage == Usage(input_tokens=9, output_tokens=5, reasoning_tokens=2, cached_tokens=4)
    assert (also.index, also.usage) == (1, Usage())
    assert four.origin.fingerprint == "fp_7"
    without = import_samples(got, "openai-batch", **WHO)
    assert [(s.prompt_id, s.messages, s.index) for s in without] == [("b", (), 0), ("b", (), 1), ("a", (), 0)]


def test_failed_batch_requests_are_kept_with_their_reason(tmp_path):
    got = lines(
        tmp_path / "out.jsonl",
        batch_line("a", "4"),
        batch_line("b", response={"status_code": 429, "body": {}}),
        batch_line("c", response=None, error={"code": "batch_expired", "message": "secret"}),
        batch_line("d", None),
    )
    rows = import_samples(got, **WHO)
    assert [s.reject_reason for s in rows] == [None, "batch_http_429", "batch_batch_expired", "batch_no_text"]
    assert [s.accepted for s in rows] == [None, False, False, False]


GOOD = {"messages": [{"role": "user", "content": "secret"}, {"role": "assistant", "content": "4"}]}


@pytest.mark.parametrize(
    ("format", "bad", "problem"),
    [
        ("openai", b'{"messages": [', "line 3: not valid JSON"),
        ("openai", b"\xff\xfe", "line 3: not UTF-8 text"),
        ("openai", b"[" * 100_000, "line 3: not"),
        ("openai", b"1" * 5000, "line 3: not JSON of a sensible size"),
        ("openai", b"7", "line 3: messages must be a list that is not empty"),
        ("openai", b'{"messages": []}', "line 3: messages must be a list that is not empty"),
        (
            "openai",
            b'{"messages": [{"role": "user", "content": "secret"}]}',
            "line 3: the last message must be",
        ),
        (
            "openai",
            b'{"messages": [{"role": "secret", "content": "x"}]}',
            "line 3: role must be one of system",
        ),
        (
            "openai",
            b'{"messages": [{"role": "assistant", "content": null}]}',
            "line 3: content must be a string",
        ),
        (
            "openai",
            b'{"messages": [{"role": "assistant", "content": "\\ud800"}]}',
            "line 3: content holds half",
        ),
        (
            "openai",
            b'{"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}',
            "line 3: content must",
        ),
        ("sharegpt", b'{"conversations": [{"from": "human"}]}', "line 3: value must be a string"),
        ("alpaca", b'{"instruction": "secret", "output": 3}', "line 3: output must be a string"),
        ("openai-batch", b'{"custom_id": 4}', "line 3: custom_id must be a string"),
        (
            "openai-batch",
            b'{"custom_id": "a", "response": {"status_code": 200}}',
            "line 3: choices must be a list",
        ),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(tmp_path, format, bad, problem):
    good = {
        "openai": GOOD,
        "sharegpt": {"conversations": [{"from": "gpt", "value": "4"}]},
        "alpaca": {"instruction": "i", "output": "o"},
        "openai-batch": batch_line("x", "4"),
    }[format]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(json.dumps(good).encode() + b"\n\n" + bad + b"\n")
    with pytest.raises(InputError) as error:
        import_samples(path, format, **WHO)
    assert error.value.message.startswith(f"{path}, {problem}")
    assert "nothing was imported" in error.value.hint
    assert "secret" not in error.value.message + error.value.hint


def test_a_bad_item_of_an_array_is_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "i", "output": "o"}, {"instruction": "i"}]))
    with pytest.raises(InputError, match="item 2: output must be a string"):
        import_samples(tmp_path / "a.json", **WHO)
    (tmp_path / "b.json").write_text('[\n {"instruction": "i"},\n oops]')
    with pytest.raises(InputError, match="line 3: not valid JSON"):
        import_samples(tmp_path / "b.json", "alpaca", **WHO)


def test_unknown_custom_id_and_unreadable_files(tmp_path):
    sent = lines(tmp_path / "in.jsonl", asked("a", "2 + 2?"))
    got = lines(tmp_path / "out.jsonl", batch_line("b", "6"))
    with pytest.raises(InputError, match="line 1: its custom_id is not in the batch input file"):
        import_samples(got, batch_input=sent, **WHO)
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        import_samples(tmp_path / "none.jsonl", **WHO)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        import_samples(tmp_path / "x.parquet", **WHO)
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(InputError, match="no records"):
        import_samples(tmp_path / "empty.jsonl", "openai", **WHO)
    with pytest.raises(InputError, match="cannot tell the format") as error:
        import_samples(lines(tmp_path / "odd.jsonl", {"text": "secret"}), **WHO)
    assert all(name in error.value.hint for name in IMPORT_FORMATS)


def test_two_batch_requests_of_one_name_are_refused(tmp_path):
    sent = lines(tmp_path / "in.jsonl", asked("a", "2 + 2?"), asked("a", "3 + 3?"))
    with pytest.raises(InputError, match="line 2: its custom_id is that of an earlier line"):
        import_samples(lines(tmp_path / "out.jsonl", batch_line("a", "4")), batch_input=sent, **WHO)


def test_a_count_that_no_file_can_hold_is_refused(tmp_path):
    body = {"choices": [{"message": {"content": "4"}}], "usage": {"prompt_tokens": 10**30}}
    got = lines(tmp_path / "out.jsonl", batch_line("a", response={"status_code": 200, "body": body}))
    with pytest.raises(InputError, match="line 1: prompt_tokens must be a number of tokens"):
        import_samples(got, "openai-batch", **WHO)


def test_a_column_of_another_kind_is_refused(tmp_path):
    pq.write_table(pa.table({"messages": [5]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1: messages must be a list"):
        import_samples(tmp_path / "a.parquet", **WHO)


def test_windows_files_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert len(import_samples(tmp_path / "a.jsonl", **WHO)) == 1


@given(
    st.binary(max_size=60)
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["messages", "role", "content", "conversations", "custom_id", "response", "output"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(IMPORT_FORMATS),
)
def test_any_file_is_read_or_refused(tmp_path_factory, data, format):
    path = tmp_path_factory.mktemp("fuzz") / "file.jsonl"
    path.write_bytes(data)
    try:
        assert import_samples(path, format, **WHO)
    except InputError as error:
        assert str(path) in error.message
