"""Samples out to, and in from, the formats that other tools use.

    openai        JSONL, {"messages": [..., {"role": "assistant", "content"}]}      export, import
    sharegpt      JSON or JSONL, {"conversations": [{"from", "value"}]}             export, import
    parquet       columns messages, prompt, completion (Hugging Face datasets)      export, import
    alpaca        JSON or JSONL, {"instruction", "input", "output"}                 import
    openai-batch  output JSONL of the Batch API, joined with its input JSONL        import

A teacher's reasoning stays apart from the answer, as `reasoning_content`. On import, origin and date are
the user's to state: nobody else can know whose words these are. One bad line, and nothing is imported.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import date as Date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spiritsafe.errors import InputError, UsageError
from spiritsafe.records import Origin, Sample, content_hash
from spiritsafe.rundir import write_atomic
from spiritsafe.store.foreign import IMPORT_FORMATS, Turn, batch_prompts, detect_format, read_turns

EXPORT_FORMATS = ("openai", "sharegpt", "parquet")
SHAREGPT_NAMES = {"user": "human", "assistant": "gpt"}

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_TEXT_COLUMNS = ("prompt_id", "reasoning_content", "teacher", "channel", "fingerprint", "date")
_PARQUET = pa.schema(
    [(name, _TURNS) for name in ("messages", "prompt", "completion")]
    + [(name, pa.string()) for name in _TEXT_COLUMNS]
)


def export_samples(samples: Iterable[Sample], path: Path, format: str, *, rejected: bool = False) -> int:
    """Write samples to a file in one of EXPORT_FORMATS; the number written.

    Samples that selection rejected are left out unless `rejected` is true. The file appears whole or not
    at all. Raises UsageError for an unknown format, SpiritSafeError when the disk is full.
    """
    if format not in EXPORT_FORMATS:
        raise UsageError(f"cannot export to {format!r}", hint=f"formats: {', '.join(EXPORT_FORMATS)}")
    chosen = [sample for sample in samples if rejected or sample.accepted is not False]
    if format == "parquet":
        write_atomic(path, _parquet_bytes(chosen))
        return len(chosen)
    to_row = _openai_row if format == "openai" else _sharegpt_row
    write_atomic(path, "".join(json.dumps(to_row(sample), ensure_ascii=False) + "\n" for sample in chosen))
    return len(chosen)


def import_samples(
    path: Path,
    format: str = "auto",
    *,
    origin: str | None,
    date: str | None,
    batch_input: Path | None = None,
) -> list[Sample]:
    """Samples of a foreign file, in its order, with channel "import".

    `origin` names who answered, such as gpt-4o@api.openai.com; `date` is their ISO date or month.
    `batch_input` is the JSONL that was sent to the Batch API: it holds the prompts, which the output does
    not. Failed requests of a batch come as rejected samples with the reason. Costs are 0: they were paid
    elsewhere. Raises UsageError without origin or date, InputError naming file and line.
    """
    origin, date = _provenance(origin, date)
    name = detect_format(path) if format == "auto" else format
    if name not in IMPORT_FORMATS:
        raise UsageError(f"cannot import {format!r}", hint=f"formats: auto, {', '.join(IMPORT_FORMATS)}")
    prompts = batch_prompts(batch_input) if batch_input else None
    seen: Counter[str] = Counter()
    samples = [_sample(turn, origin, date, seen) for turn in read_turns(path, name, prompts)]
    if not samples:
        raise InputError(f"no records in {path}", hint=f"expected {name}")
    return samples


def _provenance(origin: str | None, date: str | None) -> tuple[str, str]:
    cure = "name who answered and when, such as --teacher openai:gpt-4.1 --date 2026-05"
    if not origin or not origin.strip():
        raise UsageError("an import needs an origin", hint=cure)
    if not date:
        raise UsageError("an import needs a date", hint=cure)
    try:
        # A month is exact enough for logs; the day is then left out rather than made up.
        month = re.fullmatch(r"\d{4}-\d{2}", date)
        whole = Date.fromisoformat(f"{date}-01" if month else date).isoformat()
    except ValueError:
        raise UsageError(f"not an ISO date: {date!r}", hint=cure) from None
    return origin.strip(), whole[:7] if month else whole


def _sample(turn: Turn, origin: str, date: str, seen: Counter[str]) -> Sample:
    """A foreign turn as a sample; the same prompt again is its next index."""
    key = content_hash("spiritsafe-prompt-1", list(turn.messages) or turn.prompt_id)
    index, seen[key] = seen[key], seen[key] + 1
    # A tag of its own: an imported answer is never taken for one that this program asked for. The text is
    # part of it, so that the same file again is the same samples and another file's answers are others.
    identity = {"teacher": origin, "prompt": key, "index": index, "text": turn.text}
    return Sample(
        request_hash=content_hash("spiritsafe-import-1", identity),
        prompt_id=turn.prompt_id or key[:16],
        messages=turn.messages,
        text=turn.text,
        reasoning=turn.reasoning,
        finish_reason=turn.finish_reason,
        index=index,
        usage=turn.usage,
        cost_usd=0.0,
        origin=Origin(teacher=origin, channel="import", fingerprint=turn.fingerprint, date=date),
        accepted=False if turn.reject_reason else None,
        reject_reason=turn.reject_reason,
    )


def _openai_row(sample: Sample) -> dict[str, Any]:
    answer = {"role": "assistant", "content": sample.text}
    if sample.reasoning is not None:
        answer["reasoning_content"] = sample.reasoning
    return {"messages": [*sample.messages, answer]}


def _sharegpt_row(sample: Sample) -> dict[str, Any]:
    turns = [
        {"from": SHAREGPT_NAMES.get(m["role"], m["role"]), "value": m["content"]} for m in sample.messages
    ]
    answer = {"from": "gpt", "value": sample.text}
    if sample.reasoning is not None:
        answer["reasoning_content"] = sample.reasoning
    return {"conversations": [*turns, answer]}


def _parquet_bytes(samples: list[Sample]) -> bytes:
    rows = []
    for sample in samples:
        prompt, answer = list(sample.messages), [{"role": "assistant", "content": sample.text}]
        turns = {"messages": [*prompt, *answer], "prompt": prompt, "completion": answer}
        about = {"prompt_id": sample.prompt_id, "reasoning_content": sample.reasoning}
        rows.append({**turns, **about, **sample.origin.to_json()})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_PARQUET), sink, compression="zstd")
    return bytes(sink.getvalue())
