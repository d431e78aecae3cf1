"""A recipe from YAML: `load` reports every problem at once and names the nearest key for an unknown one."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from spiritsafe.errors import InputError, RecipeError
from spiritsafe.recipe import Arm, Recipe


def load(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe file and apply `a.b=value` overrides.

    Raises InputError when the file cannot be read, RecipeError with every problem otherwise.
    """
    return parse(_read_yaml(Path(path)), overrides)


def parse(value: dict[str, Any], overrides: list[str] | None = None) -> Recipe:
    """The recipe from plain values; raises RecipeError naming every problem."""
    for override in overrides or []:
        _apply(value, override)
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise RecipeError(
            "\n".join(problems), hint="`spiritsafe recipe schema` lists every key with its meaning"
        ) from None


def bundled_path() -> Path:
    """The recipe that `spiritsafe run` uses when none is named."""
    return Path(__file__).parent / "tasks" / "schoolbook" / "recipe.yaml"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read the recipe: {path} ({error.strerror})", hint="ls recipes/ shows the bundled ones"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe is not valid YAML: {path}: {_yaml_place(error)}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"the recipe must be a mapping of sections: {path}")
    return value


def _yaml_place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return f"{where}{getattr(error, 'problem', None) or 'not text'}"


def _apply(value: dict[str, Any], override: str) -> None:
    """Set one dotted key; the right side is YAML, so 3 is a number and [1, 2] a list."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"--set needs KEY=VALUE, got {override!r}", hint="for example --set train.tokens=200000"
        )
    *parents, leaf = key.split(".")
    for parent in parents:
        value = value.setdefault(parent, {})
        if not isinstance(value, dict):
            raise RecipeError(f"--set {key}: {parent} is not a section")
    value[leaf] = _scalar(text)


def _scalar(text: str) -> Any:
    # A URL with #NAME would lose its name as a YAML comment if a space crept in; plain text stays text.
    try:
        return yaml.safe_load(text) if text.strip() else None
    except yaml.YAMLError:
        return text


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key: {where}{_nearest(problem['loc'])}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = problem.get("input")
    got = f", got {shown!r}" if isinstance(shown, str | int | float | bool) else ""
    return f"{where}: {message}{got}" if where else message


def _nearest(location: tuple[str | int, ...]) -> str:
    """The key the user probably meant: first among the siblings, then anywhere in the recipe."""
    wanted = str(location[-1])
    siblings = _keys_at(location[:-1])
    near = difflib.get_close_matches(wanted, siblings, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {'.'.join([*map(str, location[:-1]), near[0]])}?)"
    elsewhere = {path.rsplit(".", 1)[-1]: path for path in _all_paths()}
    near = difflib.get_close_matches(wanted, elsewhere, n=1, cutoff=0.75)
    if near:
        return f" (did you mean {elsewhere[near[0]]}?)"
    return f" (allowed here: {', '.join(siblings)})"


def _keys_at(location: tuple[str | int, ...]) -> list[str]:
    section: type[BaseModel] = Recipe
    for part in location:
        if section is Recipe and part == "arms":
            section = Arm
            continue
        child = section.model_fields.get(str(part))
        section = _section_of(child.annotation) or section if child else section
    return [info.alias or name for name, info in section.model_fields.items()]


def _section_of(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _all_paths() -> list[str]:
    paths = []
    for name, info in Recipe.model_fields.items():
        section = _section_of(info.annotation)
        if section:
            paths += [f"{name}.{f.alias or key}" for key, f in section.model_fields.items()]
    return paths
