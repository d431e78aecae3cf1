"""How often the measured final score lies in the interval that `pilot` predicted from an eighth to a half.

    python benchmarks/pilot.py --work DIR [--seeds 10] [--answers 2000] [--tokens 300000]

The bundled teacher answers once. Every seed cuts the answers anew, trains the bundled base student on the
parts that `pilot` trains on and on the whole, and measures all of them on the same 1,000 test problems. The
prediction is made from the parts alone. Interrupted, it goes on where it stopped; seeds that are whole are
kept in DIR/seeds.json. Writes benchmarks/results/pilot.json when all are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from spiritsafe import environment, recipe_file
from spiritsafe.costs.curve import fit, interval
from spiritsafe.pipeline import parallel, pilot
from spiritsafe.pipeline.run import run, start
from spiritsafe.pipeline.stage import Context, Runner
from spiritsafe.pipeline.stages import stages
from spiritsafe.recipe import Recipe
from spiritsafe.rundir import dump_json, write_atomic
from spiritsafe.talk import Talk
from spiritsafe.workers import workers_for

ROOT = Path(__file__).resolve().parent.parent


def recipe_of(answers: int, tokens: int, seeds: int) -> Recipe:
    """The bundled recipe, cut down, with the pilot's students and the whole one in `seeds` trainings each."""
    sizes = [f"task.train_prompts={answers}", "task.unseen_prompts=0", "task.stretch_prompts=0"]
    recipe = recipe_file.load(ROOT / "recipes" / "schoolbook.yaml", [*sizes, f"train.tokens={tokens}"])
    whole = recipe.arms["student"].model_copy(update={"seeds": seeds})
    return recipe.model_copy(update={"arms": {**pilot.arms_of(recipe, seeds), "student": whole}})


def train_and_measure(context: Context, seed: int) -> None:
    """The students of one seed, as many at a time as there are cores."""
    known = stages(context.recipe, context.run.path)
    wanted = [stage for stage in known if stage.student and stage.name.endswith(f"-{seed}")]
    for group in ("train", "evaluate"):
        alike = [stage for stage in wanted if stage.group == group]
        parallel.do_together(Runner(context), alike, workers=workers_for(0))


def compare(context: Context, seed: int) -> dict[str, Any]:
    """What the parts predict for the whole, and what the whole has scored."""
    answers = pilot.training_answers(context)
    parts = [pilot.measured(context, answers, name, seed) for name in pilot.PARTS]
    whole = pilot.measured(context, answers, "student", seed)
    predicted = interval(fit(parts).measured(whole.answers, whole.problems))
    score = whole.solved / whole.problems
    return {
        "seed": seed,
        "parts": [[part.answers, part.solved / part.problems] for part in parts],
        "predicted": predicted.to_json(),
        "answers": whole.answers,
        "measured": score,
        "inside": predicted.low <= score <= predicted.high,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=300_000)
    options = parser.parse_args()
    recipe = recipe_of(options.answers, options.tokens, options.seeds)
    run(recipe, options.work, until="select", talk=Talk())
    context, rows = start(recipe, options.work, Talk()), []
    for seed in range(options.seeds):
        train_and_measure(context, seed)
        rows.append(compare(context, seed))
        print(json.dumps(rows[-1]), flush=True)
        write_atomic(options.work / "seeds.json", dump_json(rows))
    result = {
        "answers": options.answers,
        "tokens": options.tokens,
        "problems": recipe.task.test_prompts,
        "seeds": options.seeds,
        "inside": sum(row["inside"] for row in rows),
        "rows": rows,
        **environment.describe(),
    }
    write_atomic(ROOT / "benchmarks" / "results" / "pilot.json", dump_json(result))


if __name__ == "__main__":
    main()
