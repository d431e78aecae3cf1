"""Recipes: every problem at once, the nearest key, overrides, the bundled files."""

from pathlib import Path

import pytest

from spiritsafe import recipe, recipe_file
from spiritsafe.errors import InputError, RecipeError

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_bundled_recipe_loads(path):
    loaded = recipe_file.load(path)
    assert loaded.name == path.stem
    assert path.read_text().startswith("# What has been run: ")


def test_all_problems_at_once_with_the_nearest_key():
    with pytest.raises(RecipeError) as caught:
        recipe_file.parse(
            {"taks": {}, "temperature": 0.1, "train": {"tokens": -4}, "arms": {"gold": {"dat": "gold"}}}
        )
    message = caught.value.message
    assert "unknown key: taks (did you mean task?)" in message
    assert "unknown key: temperature (did you mean collect.temperature?)" in message
    assert "train.tokens: Input should be greater than 0, got -4" in message
    assert "unknown key: arms.gold.dat (did you mean arms.gold.data?)" in message


def test_overrides_are_yaml_values():
    loaded = recipe_file.parse(
        {},
        [
            "teacher.model=http://127.0.0.1:8000/v1#NAME",
            "teacher.is=Qwen/Qwen3-32B",
            "train.tokens=1000",
            "budget.usd=null",
        ],
    )
    assert loaded.teacher.model == "http://127.0.0.1:8000/v1#NAME"
    assert loaded.teacher.is_model == "Qwen/Qwen3-32B"
    assert loaded.train.tokens == 1000
    assert loaded.budget.usd is None


@pytest.mark.parametrize("override", ["train.tokens", "=3", "name.x=3"])
def test_bad_override_is_refused(override):
    with pytest.raises(RecipeError):
        recipe_file.parse({"name": "x"}, [override])


def test_arms_keep_the_three_that_define_the_result():
    loaded = recipe_file.parse({"arms": {"gold": {"data": "gold", "seeds": 3}}})
    assert list(loaded.arms) == ["student", "baseline", "untrained", "gold"]


@pytest.mark.parametrize("value", [{"arms": {"teacher": {"data": "none"}}}, {"task": {"kind": "jsonl"}}])
def test_what_contradicts_itself_is_refused(value):
    with pytest.raises(RecipeError):
        recipe_file.parse(value)


def test_resolved_recipe_is_read_back_equal(tmp_path):
    first = recipe_file.parse({}, ["teacher.is=A/B", "seed=7"])
    path = tmp_path / "recipe.json"
    path.write_text(__import__("json").dumps(first.to_json()))
    assert recipe_file.load(path) == first


@pytest.mark.parametrize(
    ("content", "part"), [("a: [1", "line 1"), ("- 1\n- 2\n", "mapping"), ("\x00", "YAML")]
)
def test_a_file_that_is_no_recipe(tmp_path, content, part):
    path = tmp_path / "r.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=part):
        recipe_file.load(path)


def test_missing_file_names_the_path(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml"):
        recipe_file.load(tmp_path / "nothing.yaml")


def test_schema_explains_keys():
    described = recipe.schema()["$defs"]["Train"]["properties"]["tokens"]["description"]
    assert "same budget for every arm" in described


@pytest.mark.parametrize("override", ["seed=-1", "budget.usd=.inf", "train.learning_rate=.nan"])
def test_numbers_that_nothing_can_use_are_refused(override):
    with pytest.raises(RecipeError, match=override.split("=")[0]):
        recipe_file.parse({}, [override])
