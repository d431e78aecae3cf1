"""Tasks that lack something: the run goes on with the rows that it can make, or says what is missing."""

import importlib.util

import pytest

from spiritsafe import recipe_file
from spiritsafe.errors import MissingExtra, UsageError
from spiritsafe.pipeline import data, inquiry, measuring, models, prompt_files
from spiritsafe.pipeline.run import run, start
from spiritsafe.pipeline.stages import stages
from spiritsafe.recipe import Arm
from spiritsafe.records import TeacherId
from spiritsafe.rundir import RunDir
from spiritsafe.teachers.folders import resolve_model

SEEDS = "".join(f'{{"prompt": "Write about thing number {n}."}}\n' for n in range(30))


def context_of(tmp_path, *overrides):
    (tmp_path / "p.jsonl").write_text(SEEDS)
    task = {"kind": "jsonl", "path": str(tmp_path / "p.jsonl"), "verifier": {"kind": "none"}}
    context = start(recipe_file.parse({"task": task}, list(overrides)), tmp_path / "run")
    context.run.mark_done("prompts", "key", prompt_files.write_prompts(context))
    return context


def test_without_references_the_baseline_is_the_untouched_checkpoint(tmp_path):
    context, arm = context_of(tmp_path), Arm(data="answers")
    folder = context.run.path / "students" / "baseline-0"
    assert models.train_arm(context, "baseline", arm, 0) == [folder / models.UNTOUCHED]
    assert models.is_untouched(context, "baseline", arm, 0)
    assert not models.is_left_out(context, "baseline", arm, 0)
    assert models.student_folder(context, "baseline", arm, 0) == resolve_model("bundled:base")


def test_without_worked_solutions_gold_is_left_out(tmp_path):
    context, arm = context_of(tmp_path), Arm(data="gold")
    assert models.train_arm(context, "gold", arm, 0) == [
        context.run.path / "students" / "gold-0" / models.LEFT_OUT
    ]
    assert models.is_left_out(context, "gold", arm, 0)
    assert list(measuring.answer_test(context, "gold", arm, 0)) == []
    assert not models.is_left_out(context, "gold", Arm(data="none"), 0)
    assert not models.is_left_out(context, "student", Arm(data="teacher"), 0)


def test_unit_tests_without_a_solution_are_no_bare_answer(tmp_path):
    (tmp_path / "p.jsonl").write_text(
        "".join(f'{{"prompt": "Write f{n}.", "answer": "assert f{n}() == {n}"}}\n' for n in range(30))
    )
    task = {"kind": "jsonl", "path": str(tmp_path / "p.jsonl"), "verifier": {"kind": "python"}}
    context = start(recipe_file.parse({"task": task}), tmp_path / "run")
    context.run.mark_done("prompts", "key", prompt_files.write_prompts(context))
    assert models.examples_of(context, Arm(data="answers"), 0) == ([], [])


def keys(tmp_path, *overrides):
    recipe = recipe_file.parse(
        {"task": {"kind": "jsonl", "path": str(tmp_path / "p.jsonl")}}, list(overrides)
    )
    return {stage.name: stage.inputs for stage in stages(recipe, tmp_path)}


def test_another_verifier_changes_the_split_and_the_baseline(tmp_path):
    (tmp_path / "p.jsonl").write_text(SEEDS)
    plain, changed = keys(tmp_path), keys(tmp_path, "task.verifier.kind=none")
    assert {name for name in plain if plain[name] != changed[name]} >= {
        "prompts",
        "train-baseline-0",
        "select",
    }
    assert plain["train-student-0"] == changed["train-student-0"]


def test_another_endpoint_is_another_teacher(tmp_path):
    context = context_of(tmp_path, "teacher.endpoint=completions")
    teacher = TeacherId(wire_name="m", host="127.0.0.1:8000", channel="api")
    assert inquiry.teacher_of(context, teacher) == "m@127.0.0.1:8000#completions"
    assert inquiry.teacher_of(context_of(tmp_path), teacher) == "m@127.0.0.1:8000"


def test_an_old_expansion_is_not_trained_on(tmp_path):
    context = context_of(tmp_path)
    before = len(prompt_files.training_prompts(context))
    context.run.write_lines("prompts/expanded.jsonl", [prompt_files.training_prompts(context)[0].to_json()])
    assert len(prompt_files.training_prompts(context)) == before


def test_a_file_shorter_than_train_prompts_is_expanded_too(tmp_path):
    context = context_of(tmp_path, "task.expand_to=100")
    assert context.recipe.task.expand_to < context.recipe.task.train_prompts
    assert "expand" in [stage.name for stage in stages(context.recipe, context.run.path)]


def test_nothing_to_expand_asks_for_nothing(tmp_path):
    context = context_of(tmp_path, "task.expand_to=3")
    assert [path.name for path in data.expand_prompts(context)] == ["expanded.jsonl"]
    assert RunDir(context.run.path).read_lines("prompts/expanded.jsonl") == []


def test_a_divergence_from_a_served_teacher_is_refused_before_it_is_asked(tmp_path):
    recipe = recipe_file.parse(
        {
            "teacher": {"model": "http://127.0.0.1:9/v1#x"},
            "arms": {"student": {"data": "teacher", "divergence": {}}},
        }
    )
    with pytest.raises(UsageError, match="divergence needs a local teacher"):
        run(recipe, tmp_path)
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is here")
def test_qlora_without_its_library_is_refused_before_the_teacher_is_asked(tmp_path):
    with pytest.raises(MissingExtra, match="bitsandbytes"):
        run(recipe_file.parse({"student": {"adapter": "qlora"}}), tmp_path)
    assert not (tmp_path / "ledger.sqlite").exists()
