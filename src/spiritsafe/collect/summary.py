"""Shorter reasoning: the teacher writes its own traces again, without repetition and dead ends.

Asked for after selection, so that nobody pays for the traces of answers that are not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spiritsafe.records import Request, Sample, Sampling

PROMPT = """A problem was solved by the train of thought below. Write this train of thought again in at most \
{words} words. Keep every step and every number that the answer needs; leave out repetition, doubts and \
attempts that led nowhere. Write nothing but the shortened train of thought.

Problem:
{problem}

Train of thought:
{reasoning}"""
TOKENS_PER_WORD = 4
"""An upper bound for max_tokens; a teacher that reasons about the summary too needs more than 1.4."""


def summary_requests(samples: Sequence[Sample], teacher: str, words: int) -> list[Request]:
    """One request for every sample with reasoning; its prompt_id is the sample's request hash."""
    return [
        Request(
            prompt_id=sample.request_hash,
            messages=({"role": "user", "content": _prompt(sample, words)},),
            teacher=teacher,
            sampling=Sampling(max_tokens=TOKENS_PER_WORD * words),
        )
        for sample in samples
        if sample.reasoning
    ]


def _prompt(sample: Sample, words: int) -> str:
    problem = "\n\n".join(message["content"] for message in sample.messages if message["role"] != "system")
    return PROMPT.format(words=words, problem=problem, reasoning=sample.reasoning)


def summaries(answers: Iterable[Sample]) -> dict[str, str]:
    """Shortened reasoning by the request hash of the sample; what is empty or was cut off is left out."""
    whole = (answer for answer in answers if answer.finish_reason != "length")
    return {answer.prompt_id: answer.text.strip() for answer in whole if answer.text.strip()}
