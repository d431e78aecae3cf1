"""Judges of known character behind a server: what they say is read, paid once and survives interruptions."""

import asyncio
from pathlib import Path

import pytest

from spiritsafe.collect.judge import Court, Pair, preference
from spiritsafe.costs.prices import cost_usd
from spiritsafe.errors import BudgetReached, TeacherError, UsageError
from spiritsafe.recipe import Budget, Judge, Price
from spiritsafe.records import Prompt
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.connect import connect

JUDGES = Path(__file__).parent.parent / "fakes" / "judges.py"
PRICE = Price(input_per_million=2, output_per_million=8)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr("spiritsafe.teachers.pace.BACKOFF_S", 0.001)


@pytest.fixture
def judge(start_server, tmp_path):
    """A judge of `tests/fakes/judges.py` by name: returns (what it is asked with, its server)."""

    def make(name, *, ledger="ledger", budget=None, price=PRICE, mode="pairwise", **options):
        server = options.pop("server", None) or start_server(answers=f"{JUDGES}:{name}", **options)
        settings = Judge(model=server.ref, mode=mode, deadline_s=5)

        def ask(method, *arguments, **named):
            async def session():
                with Ledger(tmp_path / ledger, Budget(**(budget or {}))) as opened:
                    async with connect(settings.model, settings=settings) as sampler:
                        court = Court(
                            settings=settings,
                            sampler=sampler,
                            ledger=opened,
                            judge_key="judge@here",
                            price=price,
                            max_attempts=4,
                        )
                        found = await getattr(court, method)(*arguments, **named)
                        return found, opened.totals()

            return asyncio.run(session())

        return ask, server

    return make


def prompt(number):
    return Prompt(prompt_id=f"p{number}", messages=({"role": "user", "content": f"task {number} of many"},))


def pairs(n=30):
    """The answer is better in one case of three, worse in one, equal in one; it is always longer."""
    return [
        Pair(prompt=prompt(i), answer=f"quality {i % 3 + 1}, at length", rival="quality 2") for i in range(n)
    ]


def test_a_perfect_judge_is_consistent_and_right(judge):
    ask, server = judge("perfect")
    found, totals = ask("compare", pairs(), "judge-test")
    assert [p.score for p in found] == [(0.0, 0.5, 1.0)[i % 3] for i in range(30)]
    assert all(p.consistent for p in found)
    assert totals.settled == len(server.rows()) == 60
    billed = sum(2 * row["input"] + 8 * row["output"] for row in server.rows()) / 1e6
    assert totals.spent_usd == pytest.approx(billed, rel=1e-9) and billed > 0


def test_a_judge_of_positions_gives_ties_alone_and_never_agrees_with_itself(judge):
    found, _ = judge("first_always")[0]("compare", pairs(), "judge-test")
    assert {(p.score, p.consistent) for p in found} == {(0.5, False)}


def test_a_judge_of_length_is_consistent(judge):
    found, _ = judge("longer")[0]("compare", pairs(), "judge-test")
    assert {(p.score, p.consistent) for p in found} == {(1.0, True)}


@pytest.mark.parametrize(
    ("first", "swapped", "score", "consistent"),
    [
        ("A", "B", 1.0, True),
        ("B", "A", 0.0, True),
        ("tie", "tie", 0.5, True),
        ("A", "A", 0.5, False),
        ("A", "tie", 0.5, False),
        (None, "B", None, None),
        ("A", None, None, None),
    ],
)
def test_both_orders_make_one_verdict(first, swapped, score, consistent):
    found = preference(first, swapped)
    assert (found.score, found.consistent) == (score, consistent)


def test_marks_are_scores_and_a_sample_is_marked_twice(judge):
    ask, server = judge("perfect", mode="rubric")
    answers = [(prompt(i), f"quality {1 + i % 5}") for i in range(30)]
    (scores, again), _ = ask("mark", answers, "judge-select", repeated=10)
    assert scores == [(i % 5) / 4 for i in range(30)]
    assert again == scores[:10]
    assert len(server.rows()) == 40


def test_what_is_not_in_format_is_asked_once_more_and_then_left(judge):
    ask, server = judge("lapsing")
    found, totals = ask("compare", pairs(), "judge-test")
    assert [p.score is None for p in found] == [i % 3 == 0 for i in range(30)]
    assert [p.consistent is None for p in found] == [i % 3 == 0 for i in range(30)]
    assert totals.settled == len(server.rows()) == 60 + 20


def test_a_judge_that_never_answers_in_format_stops_after_twenty(judge):
    ask, server = judge("talkative")
    with pytest.raises(TeacherError, match="never ends with a verdict") as caught:
        ask("compare", pairs(), "judge-test")
    assert "20 answers" in caught.value.message and "judge.model" in caught.value.hint
    assert len(server.rows()) == 20
    with pytest.raises(TeacherError):  # all of it is kept: the second time costs nothing
        ask("compare", pairs(), "judge-test")
    assert len(server.rows()) == 20


def test_few_questions_without_any_verdict_stop_too(judge):
    ask, server = judge("talkative")
    with pytest.raises(TeacherError, match="8 answers"):
        ask("compare", pairs(2), "judge-test")
    assert len(server.rows()) == 8


def test_a_slow_and_failing_judge_is_asked_until_it_answers(judge):
    ask, server = judge("perfect", latency=0.01, faults={"500": 0.2, "429": 0.1, "malformed": 0.1})
    found, totals = ask("compare", pairs(), "judge-test")
    assert [p.score for p in found] == [(0.0, 0.5, 1.0)[i % 3] for i in range(30)]
    answered = [row["key"] for row in server.rows() if row["outcome"] == "ok"]
    assert len(answered) == len(set(answered)) == totals.settled == 60
    assert len(server.rows()) > 60


def test_the_budget_stops_the_judge_and_more_of_it_goes_on(judge):
    ask, server = judge("perfect", budget={"usd": 0.012})
    with pytest.raises(BudgetReached):
        ask("compare", pairs(), "judge-test")
    before = len(server.rows())
    assert 0 < before < 60
    ask, _ = judge("perfect", server=server)
    found, totals = ask("compare", pairs(), "judge-test")
    assert [p.score for p in found] == [(0.0, 0.5, 1.0)[i % 3] for i in range(30)]
    assert set(server.served().values()) == {1} and len(server.rows()) == 60
    assert totals.spent_usd == pytest.approx(
        sum(cost_usd(PRICE, usage(row)) for row in server.rows()), rel=1e-9
    )


def usage(row):
    from spiritsafe.records import Usage

    return Usage(input_tokens=row["input"], output_tokens=row["output"])


def test_a_second_judging_asks_nothing(judge):
    ask, server = judge("perfect")
    first, _ = ask("compare", pairs(), "judge-test")
    second, _ = ask("compare", list(reversed(pairs())), "judge-test")
    assert second == first[::-1]
    assert len(server.rows()) == 60


def test_nothing_to_judge_asks_nothing(judge):
    ask, server = judge("perfect")
    assert ask("compare", [], "judge-test")[0] == []
    assert ask("mark", [], "judge-select", repeated=100)[0] == ([], [])
    assert server.rows() == []


def test_a_key_that_is_missing_is_asked_for_in_the_judges_section(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = Judge(model="https://judge.example/v1#big")
    with pytest.raises(UsageError) as caught:
        connect(settings.model, settings=settings)
    assert "judge.api_key_env" in caught.value.hint
