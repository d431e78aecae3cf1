"""Imports go down only: a room imports from rooms with a lower number, and nothing goes round."""

import ast
from pathlib import Path

import spiritsafe

SOURCE = Path(spiritsafe.__file__).parent

ROOMS = {
    "errors": 0,
    "records": 0,
    "environment": 0,
    "recipe": 0,
    "recipe_data": 0,
    "recipe_file": 0,
    "recipe_student": 0,
    "rundir": 0,
    "stats": 0,
    "talk": 0,
    "thinking": 0,
    "workers": 0,
    "costs": 1,
    "tasks": 2,
    "store": 3,
    "teachers": 4,
    "collect": 5,
    "losses": 6,
    "students": 8,
    "evaluate": 9,
    "training": 10,
    "report": 13,
    "export": 13,
    "pipeline": 15,
    "cli": 16,
}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "spiritsafe"


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spiritsafe"):
            # `from spiritsafe import records` names the module in the alias.
            names = (
                [f"spiritsafe.{a.name}" for a in node.names] if node.module == "spiritsafe" else [node.module]
            )
            found.update(names)
        elif isinstance(node, ast.Import):
            found.update(a.name for a in node.names if a.name.startswith("spiritsafe"))
    return found


def test_every_file_has_a_room():
    tops = {p.stem if p.is_file() else p.name for p in SOURCE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert tops - {"__init__", "__main__", "__pycache__"} == set(ROOMS)


def test_imports_go_down():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        for module in imports(path):
            target = room_of(module)
            if target != "__version__" and ROOMS[target] > ROOMS[room]:
                wrong.append(f"{path.relative_to(SOURCE)} imports {module}")
    assert wrong == []


def test_no_cycles_between_modules():
    modules = {
        path: f"spiritsafe.{'.'.join(path.relative_to(SOURCE).with_suffix('').parts)}"
        for path in SOURCE.rglob("*.py")
    }
    graph = {name: imports(path) & set(modules.values()) for path, name in modules.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join((*path, name))}"
        if name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        if name != "spiritsafe.__init__":
            visit(name, ())


def test_packages_have_empty_init():
    filled = [p for p in SOURCE.rglob("__init__.py") if p.parent != SOURCE and p.read_text().strip()]
    assert [str(p.relative_to(SOURCE)) for p in filled] == ["losses/__init__.py"]
