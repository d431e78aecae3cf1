"""Selection: every check, its reason, its place in the order, and the sum of the counts."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.collect.select import Selection, select
from spiritsafe.recipe import Select, Verifier
from spiritsafe.records import Origin, Prompt, Sample, Usage
from spiritsafe.tasks.jsonl import to_prompt

ORIGIN = Origin(teacher="t@local", channel="scripted", fingerprint=None, date="2026-01-01")
QUESTIONS = [to_prompt({"prompt": f"What is {i} + 1?", "answer": str(i + 1)}) for i in range(6)]


def sample(prompt: Prompt, text: str, index: int = 0, finish_reason: str = "stop") -> Sample:
    return Sample(
        request_hash=f"{prompt.prompt_id}-{index}",
        prompt_id=prompt.prompt_id,
        messages=prompt.messages,
        text=text,
        reasoning=None,
        finish_reason=finish_reason,
        index=index,
        usage=Usage(),
        cost_usd=0.0,
        origin=ORIGIN,
    )


def chosen(
    samples: Sequence[Sample],
    settings: Select | None = None,
    prompts: Sequence[Prompt] = QUESTIONS,
    evaluation: Sequence[Prompt] = (),
    verifier: Verifier | None = None,
) -> Selection:
    return select(samples, prompts, evaluation, settings or Select(), verifier or Verifier())


def reasons(selection: Selection) -> list[str | None]:
    return [sample.reject_reason for sample in selection.samples]


def test_checks_in_their_order() -> None:
    first = QUESTIONS[0]
    samples = [
        sample(first, "  ", 0),
        sample(first, "1 + ", 1, "length"),
        sample(first, "1", 2, "content_filter"),
        sample(first, "1", 3),
        sample(first, "#### 1 " + "x" * 200, 4),
        sample(first, "#### 2", 5),
        sample(first, "hm, well", 6),
        sample(first, "so #### 1", 7),
    ]
    result = chosen(samples, Select(min_characters=3, max_characters=100))
    assert reasons(result) == [
        "empty", "truncated", "filtered", "too_short", "too_long", "wrong_answer", "no_number", None,
    ]  # fmt: skip
    assert [s.accepted for s in result.samples] == [False] * 7 + [True]
    assert [s.request_hash for s in result.samples] == [s.request_hash for s in samples]
    summary = result.summary()
    assert (summary["collected"], summary["accepted"], summary["unverified"]) == (8, 1, 0)
    assert sum(summary["rejected"].values()) == 7


def test_verification_can_be_left_out() -> None:
    result = chosen([sample(QUESTIONS[0], "#### 2")], Select(verify=False))
    assert reasons(result) == [None]
    assert result.unverified == 0


def test_copies_and_contaminated_prompts() -> None:
    prompts = [
        to_prompt({"prompt": text, "answer": "1"})
        for text in ("Add 1!", "Add 2!", "add 2!", "Add 3!", "ADD 3!")
    ]
    samples = [sample(prompt, "#### 1") for prompt in prompts]
    samples[1] = sample(prompts[1], "")
    result = chosen(samples, prompts=prompts, evaluation=[to_prompt({"prompt": "add 1!"})])
    assert reasons(result) == ["contaminated", "empty", None, None, "near_duplicate"]
    assert result.counts == {"contaminated": 1, "empty": 1, "near_duplicate": 1}


def test_prompts_without_reference_are_kept_and_counted() -> None:
    prompt = to_prompt({"prompt": "Tell me more."})
    imported = sample(to_prompt({"prompt": "Who knows?"}), "Nobody.")
    result = chosen(
        [sample(prompt, "Well."), imported, sample(QUESTIONS[0], "#### 1")], prompts=[prompt, QUESTIONS[0]]
    )
    assert reasons(result) == [None, None, None]
    assert result.unverified == 2
    assert chosen([sample(prompt, "Well.")], prompts=[prompt], verifier=Verifier(kind="none")).unverified == 1


def test_best_of_n() -> None:
    first, second = QUESTIONS[:2]
    texts = ["so it is #### 1", "so it is #### 1 ", "#### 1", "one is #### 1"]
    samples = [sample(first, text, i) for i, text in enumerate(texts)] + [sample(second, "#### 2")]
    assert reasons(chosen(samples)) == [None, "duplicate_answer", None, None, None]
    assert reasons(chosen(samples, Select(keep="shortest"))) == [
        "not_shortest", "duplicate_answer", None, "not_shortest", None,
    ]  # fmt: skip


def test_majority_vote() -> None:
    prompt = to_prompt({"prompt": "How many?"})
    texts = ["I say 5", "it is 4", "so 4.0", "who knows", "#### 4"]
    result = chosen(
        [sample(prompt, text, i) for i, text in enumerate(texts)], Select(keep="majority"), prompts=[prompt]
    )
    assert reasons(result) == ["not_majority", None, "surplus", "not_majority", "surplus"]
    assert result.unverified == 1
    tie = chosen([sample(prompt, text, i) for i, text in enumerate(["5", "4"])], Select(keep="majority"))
    assert reasons(tie) == [None, "not_majority"]


def test_language_filter() -> None:
    pytest.importorskip("py3langid")
    english = "There are seven apples in the basket and three of them are eaten, so four are left. #### 1"
    german = "Es liegen sieben Aepfel im Korb, und drei davon werden gegessen, also bleiben vier. #### 1"
    samples = [sample(QUESTIONS[0], text, i) for i, text in enumerate([english, german, "3 + 4 = 7 #### 1"])]
    assert reasons(chosen(samples, Select(languages=("en",)))) == [None, "language", None]


def test_python_answers_are_judged_side_by_side() -> None:
    prompt = to_prompt({"prompt": "Write f.", "answer": "assert f() == 1"})
    samples = [sample(prompt, f"def f(): return {i % 2}", i) for i in range(6)]
    seen: list[tuple[int, int]] = []
    result = select(
        samples,
        [prompt],
        [],
        Select(),
        Verifier(kind="python"),
        lambda done, total: seen.append((done, total)),
    )
    assert reasons(result) == [
        "wrong_answer",
        None,
        "wrong_answer",
        "duplicate_answer",
        "wrong_answer",
        "duplicate_answer",
    ]
    assert seen == [(done, 6) for done in range(1, 7)]


answers = st.builds(
    sample,
    st.sampled_from(QUESTIONS),
    st.sampled_from(["", "#### 1", "#### 2", "so #### 1", "hm"]),
    st.integers(0, 3),
    st.sampled_from(["stop", "length"]),
)


@given(st.lists(answers, max_size=20), st.sampled_from(["all", "shortest", "majority"]), st.booleans())
def test_every_sample_is_accounted_for(samples: list[Sample], keep: str, verify: bool) -> None:
    result = chosen(samples, Select.model_validate({"keep": keep, "verify": verify}))
    summary = result.summary()
    assert summary["collected"] == len(samples) == summary["accepted"] + sum(summary["rejected"].values())
    assert all(s.accepted == (s.reject_reason is None) for s in result.samples)
    if keep != "all":
        kept = [s.prompt_id for s in result.accepted]
        assert len(kept) == len(set(kept))


def test_a_judge_s_marks_come_last_and_an_answer_without_one_goes() -> None:
    samples = [sample(prompt, f"#### {i + 1}") for i, prompt in enumerate(QUESTIONS[:4])]
    samples.append(sample(QUESTIONS[4], "#### 0"))
    marks = {s.request_hash: mark for s, mark in zip(samples, [0.5, 0.4, None], strict=False)}
    result = select(
        samples,
        QUESTIONS,
        (),
        Select(),
        Verifier(),
        marks={**marks, samples[4].request_hash: 1.0},
        lowest=0.5,
    )
    assert reasons(result) == [None, "judge_low", "judge_unparsed", "judge_unparsed", "wrong_answer"]
    assert result.counts == {"judge_low": 1, "judge_unparsed": 2, "wrong_answer": 1}
    assert reasons(chosen(samples)) == [None, None, None, None, "wrong_answer"]
