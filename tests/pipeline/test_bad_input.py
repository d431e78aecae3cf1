"""Tasks that lack something: the run goes on with the rows that it can make, or says what is missing."""

from spiritsafe import recipe_file
from spiritsafe.pipeline import data, models
from spiritsafe.pipeline.run import stages, start
from spiritsafe.recipe import Arm
from spiritsafe.rundir import RunDir

SEEDS = "".join(f'{{"prompt": "Write about thing number {n}."}}\n' for n in range(30))


def context_of(tmp_path, *overrides):
    (tmp_path / "p.jsonl").write_text(SEEDS)
    task = {"kind": "jsonl", "path": str(tmp_path / "p.jsonl"), "verifier": {"kind": "none"}}
    context = start(recipe_file.parse({"task": task}, list(overrides)), tmp_path / "run")
    context.run.mark_done("prompts", "key", data.write_prompts(context))
    return context


def test_without_references_the_baseline_is_left_out(tmp_path):
    context, arm = context_of(tmp_path), Arm(data="answers")
    assert models.train_arm(context, "baseline", arm, 0) == [
        context.run.path / "students" / "baseline-0" / models.LEFT_OUT
    ]
    assert models.is_left_out(context, "baseline", arm, 0)
    assert list(models.answer_test(context, "baseline", arm, 0)) == []
    assert not models.is_left_out(context, "baseline", Arm(data="none"), 0)
    assert not models.is_left_out(context, "student", Arm(data="teacher"), 0)


def test_an_old_expansion_is_not_trained_on(tmp_path):
    context = context_of(tmp_path)
    before = len(data.training_prompts(context))
    context.run.write_lines("prompts/expanded.jsonl", [data.training_prompts(context)[0].to_json()])
    assert len(data.training_prompts(context)) == before


def test_a_file_shorter_than_train_prompts_is_expanded_too(tmp_path):
    context = context_of(tmp_path, "task.expand_to=100")
    assert context.recipe.task.expand_to < context.recipe.task.train_prompts
    assert "expand" in [stage.name for stage in stages(context.recipe, context.run.path)]


def test_nothing_to_expand_asks_for_nothing(tmp_path):
    context = context_of(tmp_path, "task.expand_to=3")
    assert [path.name for path in data.expand_prompts(context)] == ["expanded.jsonl"]
    assert RunDir(context.run.path).read_lines("prompts/expanded.jsonl") == []
