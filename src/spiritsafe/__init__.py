"""Spirit Safe: LLM distillation that accounts for every drop.

The names below are the public Python surface; each is imported when first used, so that
`import spiritsafe` and `spiritsafe --help` stay fast and load no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spiritsafe.pipeline.run import run
    from spiritsafe.recipe import Recipe
    from spiritsafe.store.ledger import Ledger
    from spiritsafe.store.store import Store
    from spiritsafe.teachers.connect import connect

__version__ = "0.1.0"
__all__ = ["Ledger", "Recipe", "Store", "connect", "run"]

_HOMES = {
    "Ledger": "spiritsafe.store.ledger",
    "Recipe": "spiritsafe.recipe",
    "Store": "spiritsafe.store.store",
    "connect": "spiritsafe.teachers.connect",
    "run": "spiritsafe.pipeline.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spiritsafe' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
