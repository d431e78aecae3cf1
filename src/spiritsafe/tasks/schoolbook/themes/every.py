"""All templates, theme by theme; names are unique."""

from __future__ import annotations

from spiritsafe.tasks.schoolbook.template import Template
from spiritsafe.tasks.schoolbook.themes import (
    ages,
    garden,
    longer,
    rates,
    saving,
    sharing,
    shopping,
    time,
    transfer,
    units,
)

TEMPLATES: tuple[Template, ...] = (
    *shopping.TEMPLATES,
    *sharing.TEMPLATES,
    *rates.TEMPLATES,
    *time.TEMPLATES,
    *ages.TEMPLATES,
    *units.TEMPLATES,
    *saving.TEMPLATES,
    *garden.TEMPLATES,
    *longer.TEMPLATES,
    *transfer.TEMPLATES,
)
