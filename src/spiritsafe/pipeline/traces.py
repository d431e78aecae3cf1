"""The teacher's reasoning on its way to the student: kept, left out, or shortened by the teacher."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from spiritsafe.collect.summary import summaries, summary_requests
from spiritsafe.pipeline import inquiry
from spiritsafe.pipeline.stage import Context
from spiritsafe.records import Sample
from spiritsafe.store.shards import read_shards

SUMMARY = "summary"
"""Purpose in the ledger."""
FILE = "selected/summaries.json"


def summarise(context: Context) -> Iterable[Path]:
    """Let the teacher shorten the reasoning of every selected answer: selected/summaries.json."""
    chosen = _selected(context)
    words = context.recipe.collect.summary_words
    found = {}
    if any(sample.reasoning for sample in chosen):
        answers = inquiry.with_teacher(
            context,
            SUMMARY,
            lambda teacher: summary_requests(chosen, inquiry.teacher_of(context, teacher), words),
        )
        found = summaries(answers)
    yield context.run.write_json(FILE, found)


def training_samples(context: Context) -> list[Sample]:
    """The selected answers with the reasoning that is trained on, as train.reasoning says.

    An answer whose reasoning could not be shortened is left out: without it the student would learn to
    answer unthinkingly.
    """
    chosen, mode = _selected(context), context.recipe.train.reasoning
    if mode == "keep":
        return chosen
    if mode == "drop":
        return [replace(sample, reasoning=None) for sample in chosen]
    short = context.run.read_json(FILE)
    kept = [s for s in chosen if not s.reasoning or s.request_hash in short]
    if len(kept) < len(chosen):
        context.talk.note(f"left out {len(chosen) - len(kept):,} answers whose reasoning was not shortened")
    return [replace(s, reasoning=short[s.request_hash] if s.reasoning else None) for s in kept]


def _selected(context: Context) -> list[Sample]:
    return [sample for sample in read_shards(context.run.path / "selected") if sample.accepted]
