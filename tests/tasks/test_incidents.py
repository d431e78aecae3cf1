"""Incident reports: every key fact stands in the report, the asides stay out of the summary."""

from spiritsafe import recipe
from spiritsafe.evaluate.summaries import covered, faithful, length_ratio
from spiritsafe.tasks.base import load_task
from spiritsafe.tasks.incidents.generator import TASK, generate

GOLDEN = (
    "At 09:40 the booking page in Selby failed. For 60 minutes 3608 guests had to do without. The drill in "
    "March had 3 people in it. We first suspected the supplier, but it was a full queue. Felix Sato emptied "
    "it while the others kept people informed. Omar asked twice whether the press knew. Ines brought coffee "
    "at 00:11. "
    "Parking cost 8 pounds, receipt attached. Ruth Byrne will write to those affected by Friday.",
    "The booking page in Selby failed at 09:40 because of a full queue, and 3608 guests were affected for 60 "
    "minutes. Felix Sato emptied it, and Ruth Byrne will write to those affected by Friday.",
)


def report(prompt):
    return prompt.messages[-1]["content"].removeprefix(TASK).strip()


def test_one_report_is_as_it_was():
    prompt = generate("train", 1, 0)[0]
    assert prompt.answer is None
    assert prompt.messages[0]["content"].startswith("Summarise this report in two sentences: ")
    assert (report(prompt), prompt.solution) == GOLDEN


def test_a_summary_says_nothing_that_its_report_does_not():
    for prompt in generate("test", 200, 1):
        assert faithful(prompt.solution, report(prompt)) == 1.0
        assert covered(report(prompt), prompt.solution) == 1.0
        assert length_ratio(prompt.solution, report(prompt)) < 0.9
        cause = prompt.solution.split("because of ")[1].split(", and ")[0]
        assert cause in report(prompt)


def test_splits_share_nothing_and_other_seeds_draw_others():
    parts = {name: generate(name, 300, 0) for name in ("train", "validation", "test")}
    texts = [p.messages[0]["content"] for prompts in parts.values() for p in prompts]
    assert len(set(texts)) == 900
    assert generate("test", 300, 0) == parts["test"] != generate("test", 300, 1)


def test_the_recipe_names_it():
    task = recipe.Task(
        kind="incidents", train_prompts=30, validation_prompts=5, test_prompts=10, system="Be brief."
    )
    splits = load_task(task, 0)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 5, 10]
    assert splits.test[0].messages[0] == {"role": "system", "content": "Be brief."}
