"""A run directory as a finished run leaves it, made of plausible numbers that nobody measured."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spiritsafe.costs.curve import Measured
from spiritsafe.costs.forecast import forecast
from spiritsafe.evaluate.grade import Graded
from spiritsafe.evaluate.result import Costs, assemble
from spiritsafe.recipe import Arm, Recipe
from spiritsafe.records import Message, Prompt
from spiritsafe.rundir import RunDir

HOSTILE = '<script>alert("x")</script><img src=http://127.0.0.1:9/x onerror=alert(1)> &amp; </pre></section>'
THEMES = ("ages", "rates", "sharing", "shopping", "time", "units")
SHARES = {"teacher": 0.985, "student": 0.945, "baseline": 0.16, "untrained": 0.09, "gold": 0.955}
SIZES = {"teacher": (5_020_000, 20_100_000), "student": (1_350_000, 5_420_000)}
PILOT = [
    Measured(answers=n, solved=solved, problems=240)
    for n, solved in ((962, 98), (963, 92), (1925, 148), (3850, 193))
]
PACKAGES = {"spiritsafe": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.23.0", "numpy": "2.4.6"}


def recipe() -> Recipe:
    """A recipe with a further arm of three seeds."""
    arms = {**Recipe().arms, "gold": Arm(data="gold", seeds=3)}
    return Recipe(name="schoolbook", arms=arms)


def prompts(n: int = 240) -> dict[str, list[Prompt]]:
    """Test problems and two further slices; one problem is hostile markup."""
    rng = random.Random(0)
    counts = {"test": n, "unseen": n // 4, "stretch": n // 4}
    return {name: [_prompt(name, i, rng) for i in range(count)] for name, count in counts.items()}


def _prompt(slice_: str, i: int, rng: random.Random) -> Prompt:
    a, b = rng.randint(3, 40), rng.randint(2, 9)
    text = (
        f"Mira buys {b} boxes of pencils. Each box holds {a} pencils. She gives {a} pencils to her brother. "
        "How many pencils are left?"
    )
    if slice_ == "test" and i % 37 == 1:
        text = f"{text} {HOSTILE}"
    tags = {
        "level": "5" if slice_ == "stretch" else str(1 + i % 4),
        "theme": THEMES[i % 6],
        "template": f"t{i}",
    }
    return Prompt(
        prompt_id=f"{slice_}-{i}",
        messages=(Message(role="user", content=text),),
        answer=str(a * b - a),
        tags=tags,
    )


def graded(name: str, seed: int, problems: Mapping[str, list[Prompt]]) -> list[Graded]:
    """Answers of one model: harder levels are solved less often."""
    rng = random.Random(f"{name}/{seed}")
    rows = []
    for slice_, of_slice in problems.items():
        for prompt in of_slice:
            level = int(prompt.tags["level"])
            share = SHARES[name] ** (1 + 0.25 * (level - 2)) * (0.75 if slice_ != "test" else 1)
            rows.append(_answer(name, slice_, prompt, rng.random() < share, rng))
    return rows


def _answer(name: str, slice_: str, prompt: Prompt, correct: bool, rng: random.Random) -> Graded:
    number = str(prompt.answer) if correct else str(int(prompt.answer or 0) + rng.randint(1, 9))
    worked = f"Each box holds some pencils.\nThat makes {number} in the end.\n"
    text = f"{'' if name == 'baseline' else worked}#### {number}"
    if int(prompt.prompt_id.split("-")[1]) % 37 == 1:
        text = f"{text}\n{HOSTILE}"
    return Graded(
        prompt_id=prompt.prompt_id,
        slice=slice_,
        correct=correct,
        text=text,
        extracted=number,
        reason=None if correct else "wrong_answer",
        tags=prompt.tags,
    )


def speed(factor: float) -> dict[str, Any]:
    """Speeds of a model `factor` times as fast as the teacher."""
    base = {"prefill_1": 4100.0, "decode_1": 210.0, "prefill_64": 9300.0, "decode_64": 3900.0}
    return {
        **{key: round(value * factor, 1) for key, value in base.items()},
        "peak_memory_bytes": int(48e6 / factor),
        "spread": {key: [value * factor * 0.97, value * factor * 1.03] for key, value in base.items()},
        "repeats": 5,
        "prompt_tokens": 58,
        "decode_tokens": 64,
        "device": "cpu",
        "dtype": "float32",
        "threads": 2,
    }


def write(path: Path, *, api_teacher: bool = False) -> RunDir:
    """A finished run; with `api_teacher` its teacher has neither parameters nor speed."""
    run, made = RunDir(path), recipe()
    problems = prompts()
    for name, rows in problems.items():
        run.write_lines(f"prompts/{name}.jsonl", (row.to_json() for row in rows))
    answers = {name: [graded(name, s, problems) for s in range(_seeds(made, name))] for name in SHARES}
    for name, seeds in answers.items():
        for i, rows in enumerate(seeds):
            stem = name if name == "teacher" else f"{name}-{i}"
            header = [] if name == "teacher" else [{"evaluation_key": "0" * 64}]
            run.write_lines(f"evaluation/{stem}.jsonl", [*header, *(row.to_json() for row in rows)])
    _write_metrics(run, made)
    _write_rest(run)
    timed = [name for name in SHARES if not (api_teacher and name == "teacher")]
    sizes = {n: dict(zip(("parameters", "bytes"), SIZES[_shape(n)], strict=True)) for n in timed}
    result = assemble(
        run="runs/schoolbook",
        seconds=214.3,
        recipe=made,
        graded=answers,
        sizes=sizes,
        speeds={n: speed(1.0 if n == "teacher" else 2.7) for n in timed},
        costs=_costs(api_teacher),
        counts={"collected": 8_191, "accepted": 8_011, "ledger": _ledger(api_teacher)},
    )
    run.write_json("result.json", result)
    return run


def _shape(name: str) -> str:
    return "teacher" if name == "teacher" else "student"


def _seeds(made: Recipe, name: str) -> int:
    return made.arms[name].seeds if name in made.arms else 1


def _costs(api_teacher: bool) -> Costs:
    per_1k = {name: 0.000_92 for name in SHARES if name != "teacher"}
    if api_teacher:
        return Costs(spent_usd=3.18, per_1k={**per_1k, "teacher": 0.41}, break_even_requests=7_770)
    return Costs(spent_usd=0.0, per_1k={**per_1k, "teacher": 0.0026}, break_even_requests=0)


def _ledger(api_teacher: bool) -> dict[str, Any]:
    return {
        "settled": 8_011,
        "rejected": 180,
        "failed": 9,
        "attempts": 8_460,
        "unknown_attempts": 3,
        "usage": {"input_tokens": 493_112, "output_tokens": 811_902, "reasoning_tokens": 0},
        "spent_usd": 3.18 if api_teacher else 0.0,
        "unknown_usd": 0.0021 if api_teacher else 0.0,
        "reasons": {"http_500": 7, "timeout": 2},
    }


def _write_metrics(run: RunDir, made: Recipe) -> None:
    rng = random.Random(1)
    for name, arm in made.arms.items():
        for seed in range(arm.seeds if arm.data != "none" else 0):
            for step in range(0, 366):
                loss = (
                    0.12
                    + 2.2 / (1 + step / 12)
                    + rng.random() * 0.03
                    + {"baseline": 0.9, "gold": 0.1}.get(name, 0)
                )
                row = {"arm": name, "seed": seed, "step": step, "tokens": 4096 * (step + 1)}
                run.log(kind="train", loss=round(loss, 4), lr=0.002, **row)
                if step % 40 == 0:
                    run.log(kind="validation", loss=round(loss + 0.02, 4), **row)


def _write_rest(run: RunDir) -> None:
    rejected = {"wrong_answer": 121, "near_duplicate": 40, "contaminated": 17, "too_long": 2}
    run.write_json("pilot.json", forecast(PILOT, 7_700, 0.0021, 20).to_json())
    run.write_json("selected/counts.json", {"collected": 8_191, "accepted": 8_011, "rejected": rejected})
    run.write_json(
        "environment.json",
        {
            "date": "2026-02-03T10:11:12+00:00",
            "commit": "0123456789",
            "python": "3.11.9",
            "system": "Linux x86_64",
            "processor": "Example CPU @ 2.50GHz",
            "cores": 2,
            "memory_bytes": 8_300_000_000,
            "accelerator": None,
            "packages": PACKAGES,
        },
    )
    stages = {
        "prompts": 1.2,
        "collect": 58.1,
        "select": 3.0,
        "train-student-0": 96.4,
        "train-baseline-0": 31.7,
    }
    for name, spent in {**stages, "evaluate-student-0": 7.7, "speed": 9.9}.items():
        line = json.dumps({"name": name, "started_at": 1.0, "seconds": spent})
        with open(run.file("spans.jsonl"), "a", encoding="utf-8") as file:
            file.write(line + "\n")
