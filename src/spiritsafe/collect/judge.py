"""Asking a judge: questions become requests on the run's ledger, answers become verdicts.

The first answers are read before the rest is asked: a judge that never answers in format is found out for
the price of twenty requests. What is not in format is asked once more, drawn anew; what is not then either
has no verdict, which is counted. Settled requests are never sent again, whichever question needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from spiritsafe.collect.generate import Progress, collect
from spiritsafe.collect.verdicts import (
    FIRST,
    SECOND,
    TIE,
    Question,
    Reader,
    comparison,
    mark_reader,
    marking,
    read_choice,
    scaled,
)
from spiritsafe.errors import TeacherError
from spiritsafe.recipe import Judge, Price
from spiritsafe.records import Prompt, Record, Request, Sample, Sampling
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.sampler import Sampler

PROBE = 20
"""So many answers are read before the others are asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair(Record):
    """Two answers to one prompt; the first is the one whose win rate is wanted."""

    prompt: Prompt
    answer: str
    rival: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference(Record):
    """What a judge said of a pair in both orders."""

    score: float | None
    """1: the answer is better both times, 0: the rival is, 0.5: a tie, or the two orders disagree; None
    where a verdict is missing."""
    consistent: bool | None
    """True when both orders gave one verdict; None where one is missing."""


@dataclass(frozen=True, kw_only=True)
class Court:
    """A judge, and what its requests are booked on."""

    settings: Judge
    sampler: Sampler
    ledger: Ledger
    judge_key: str
    """`Request.teacher` of its requests."""
    price: Price | None
    max_attempts: int
    progress: Callable[[Progress], None] | None = None

    async def compare(self, pairs: Sequence[Pair], purpose: str) -> list[Preference]:
        """Every pair in both orders, in the order given. Raises as `ask`."""
        questions = [
            comparison(pair.prompt, *sides, self.settings)
            for pair in pairs
            for sides in ((pair.answer, pair.rival), (pair.rival, pair.answer))
        ]
        found = await self.ask(questions, read_choice, purpose)
        return [preference(*both) for both in zip(found[::2], found[1::2], strict=True)]

    async def mark(
        self, answers: Sequence[tuple[Prompt, str]], purpose: str, *, repeated: int
    ) -> tuple[list[float | None], list[float | None]]:
        """Scores in [0, 1], and second scores of the first `repeated` answers. Raises as `ask`."""
        questions = [marking(prompt, text, self.settings) for prompt, text in answers]
        again = [marking(prompt, text, self.settings, again=True) for prompt, text in answers[:repeated]]
        found = await self.ask([*questions, *again], mark_reader(self.settings), purpose)
        scores = [None if mark is None else scaled(mark, self.settings) for mark in found]
        return scores[: len(questions)], scores[len(questions) :]

    async def ask(self, questions: Sequence[Question], read: Reader, purpose: str) -> list[str | None]:
        """The verdict on each question, None where there is none.

        Raises TeacherError when none of the first twenty answers is in format, and what `collect` raises;
        what was answered until then is kept, and the same call goes on from there.
        """
        requests = [self._request(question) for question in questions]
        if not requests:
            return []
        distinct = {request.request_hash: request for request in requests}
        answers = await self._collect(list(distinct.values())[:PROBE], purpose)
        self._check_format(answers.values(), read)
        answers = await self._collect(requests, purpose)
        verdicts = _verdicts(requests, answers, read)
        unparsed = [i for i, v in enumerate(verdicts) if v is None and requests[i].request_hash in answers]
        if unparsed:
            again = [_anew(requests[i]) for i in unparsed]
            answers = await self._collect([*requests, *again], purpose)
            for i, verdict in zip(unparsed, _verdicts(again, answers, read), strict=True):
                verdicts[i] = verdict
            if all(verdict is None for verdict in verdicts):
                raise self._no_format(list(answers.values()))
        return verdicts

    async def _collect(self, requests: Sequence[Request], purpose: str) -> dict[str, Sample]:
        """Answers by request hash; a request that failed has none."""
        await collect(
            requests,
            self.sampler,
            self.ledger,
            purpose=purpose,
            price=self.price,
            max_attempts=self.max_attempts,
            progress=self.progress,
            section=self.settings.section,
        )
        return {sample.request_hash: sample for sample in self.ledger.samples(purpose)}

    def _request(self, question: Question) -> Request:
        return Request(
            prompt_id=question.prompt_id,
            messages=question.messages,
            teacher=self.judge_key,
            sampling=Sampling(temperature=question.temperature, max_tokens=self.settings.max_tokens),
            index=question.index,
        )

    def _check_format(self, answers: Iterable[Sample], read: Reader) -> None:
        first = list(answers)
        if len(first) >= PROBE and not any(read(answer) for answer in first):
            raise self._no_format(first)

    def _no_format(self, answers: Sequence[Sample]) -> TeacherError:
        cut = sum(answer.finish_reason == "length" for answer in answers)
        cure = "raise judge.max_tokens" if cut else "name a model that follows instructions in judge.model"
        return TeacherError(
            f"the judge {self.sampler.teacher.wire_name!r} never ends with a verdict such as #### A or "
            f"#### 4: {len(answers)} answers, {cut} of them cut off at {self.settings.max_tokens} tokens",
            hint=f"{cure}, then run the same command; all answers so far are kept",
        )


def preference(first: str | None, swapped: str | None) -> Preference:
    """The verdict on a pair from its two orders: A then B is the answer's win, B then A the rival's."""
    if first is None or swapped is None:
        return Preference(score=None, consistent=None)
    turned = {FIRST: SECOND, SECOND: FIRST, TIE: TIE}[swapped]
    if first != turned:
        return Preference(score=0.5, consistent=False)
    return Preference(score={FIRST: 1.0, SECOND: 0.0, TIE: 0.5}[first], consistent=True)


def _anew(request: Request) -> Request:
    """The same question once more; a greedy judge would say the same, so it is drawn."""
    return replace(request, index=request.index + 1, sampling=replace(request.sampling, temperature=1.0))


def _verdicts(requests: Sequence[Request], answers: dict[str, Sample], read: Reader) -> list[str | None]:
    given = [answers.get(request.request_hash) for request in requests]
    return [None if sample is None else read(sample) for sample in given]
