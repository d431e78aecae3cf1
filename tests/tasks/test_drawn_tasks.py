"""Tickets and invoices: reproducible, disjoint, judged by their verifier, and not told by a keyword."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from spiritsafe import recipe_file
from spiritsafe.errors import UsageError
from spiritsafe.recipe import Task, Verifier
from spiritsafe.records import Prompt
from spiritsafe.tasks import drawing
from spiritsafe.tasks.base import load_task
from spiritsafe.tasks.invoices.generator import SCHEMA
from spiritsafe.tasks.tickets import generator as tickets
from spiritsafe.tasks.verifiers import build

LABEL = Verifier(kind="label", labels=tickets.INTENTS)
FIELDS = Verifier(kind="json_schema", json_schema=SCHEMA)


def task(kind: str, **changes: object) -> Task:
    verifier = LABEL if kind == "tickets" else FIELDS
    sizes = {"train_prompts": 400, "validation_prompts": 40, "test_prompts": 200}
    return Task.model_validate({"kind": kind, "verifier": verifier, **sizes, **changes})


@pytest.mark.parametrize("kind", ["tickets", "invoices"])
def test_splits_are_reproducible_and_disjoint_and_references_are_right(kind: str) -> None:
    splits = load_task(task(kind, system="Read this."), seed=3)
    assert load_task(task(kind, system="Read this."), seed=3) == splits
    assert load_task(task(kind), seed=4).train[0].messages != splits.train[0].messages[1:]
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [400, 40, 200]
    texts = [p.messages[1]["content"] for part in parts for p in part]
    assert len(set(texts)) == len({p.prompt_id for part in parts for p in part}) == 640
    judge = build(task(kind).verifier)
    assert all(judge(p, p.answer or "").correct for part in parts for p in part)
    assert splits.train[0].messages[0] == {"role": "system", "content": "Read this."}


def test_the_matter_decides_the_split() -> None:
    cores = ["a", "b", "c", "d", "e"] * 100
    assert len({(core, drawing.split_of(core)) for core in cores}) == 5
    shares = Counter(drawing.split_of(str(n)) for n in range(4000))
    assert shares["test"] / 4000 == pytest.approx(0.15, abs=0.02)
    assert shares["validation"] / 4000 == pytest.approx(0.05, abs=0.01)


def test_a_split_that_runs_out_says_so() -> None:
    with pytest.raises(ValueError, match="ran out at 1 prompts"):
        drawing.draw(
            "x", lambda rng: drawing.Draw(core="1", text="one", answer="1"), drawing.split_of("1"), 2, 0
        )


def test_too_many_prompts_are_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MAX_MISSES", 0)
    with pytest.raises(UsageError, match="tickets: split 'train' ran out"):
        load_task(task("tickets"), 0)


def words(prompt: Prompt) -> set[str]:
    return set(re.findall("[a-z]+", prompt.messages[-1]["content"].lower()))


def best_keyword(train: Sequence[Prompt], test: Sequence[Prompt]) -> float:
    """Accuracy of the rule: the intent of the message's most telling word."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for prompt in train:
        for word in words(prompt):
            seen[word][prompt.answer or ""] += 1

    def guess(prompt: Prompt) -> str:
        known = [seen[word] for word in words(prompt) if word in seen]
        best = max(known, key=lambda counts: max(counts.values()) / (counts.total() + 5))
        return best.most_common(1)[0][0]

    return sum(guess(prompt) == prompt.answer for prompt in test) / len(test)


def test_no_keyword_tells_the_intent() -> None:
    splits = load_task(task("tickets", train_prompts=3000, test_prompts=500), 0)
    assert best_keyword(splits.train, splits.test) < 0.9
    assert min(Counter(p.answer for p in splits.test).values()) > 500 / 8 / 2
    assert math.isclose(
        sum(p.messages[-1]["content"].islower() for p in splits.test) / 500, 0.15, abs_tol=0.05
    )


def test_an_invoice_names_numbers_that_are_not_asked_for() -> None:
    prompts = load_task(task("invoices"), 0).test
    assert {p.tags["layout"] for p in prompts} == set("123456")
    for prompt in prompts:
        fields = json.loads(prompt.answer or "")
        text = prompt.messages[-1]["content"]
        assert fields["vendor"] in text and fields["number"] in text and f"{fields['total']:.2f}" in text
    assert sum("ax " in p.messages[-1]["content"] for p in prompts) > 60


def test_the_recipes_say_what_the_generators_make() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    sorting = recipe_file.load(recipes / "openai-support-classifier.yaml")
    assert sorting.task.verifier.labels == tickets.INTENTS
    assert all(label in (sorting.task.system or "") for label in tickets.INTENTS)
    reading = recipe_file.load(recipes / "invoice-json-extractor.yaml")
    assert reading.task.verifier.json_schema == SCHEMA
    assert all(field in (reading.task.system or "") for field in SCHEMA["required"])
