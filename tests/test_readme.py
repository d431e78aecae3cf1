"""README and docs: every command and path they name exists, and the numbers have their places."""

import re
from pathlib import Path

import pytest

from spiritsafe import recipe, recipe_file

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_named_files_exist(page):
    for name in re.findall(
        r"(?:recipes|benchmarks|tests|scripts|docs)/[\w/.-]+\.(?:yaml|py|md|json)", page.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_keys_of_the_recipe_that_docs_name_exist():
    known = set()
    for section, info in recipe.Recipe.model_fields.items():
        inner = recipe_file._section_of(info.annotation)
        if inner:
            known |= {f"{section}.{field.alias or key}" for key, field in inner.model_fields.items()}
    for page in PAGES:
        for key in re.findall(
            r"`((?:task|teacher|budget|collect|select|train|evaluate)\.[a-z_]+)`", page.read_text()
        ):
            assert key in known, f"{page.name}: {key}"


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert f"\n{target}:" in makefile
