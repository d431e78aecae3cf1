"""Metres, litres, dozens, weeks."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="units", pool="goods")

TEMPLATES = (
    _t(
        name="unit_dozen",
        level=1,
        draw="d=3..60",
        ask=(
            "{A} has {d} dozen eggs. How many eggs is that?",
            "How many eggs are there in {d} dozen?",
            "A farm sells {d} dozen eggs. How many eggs does it sell?",
        ),
        work="There are [d * 12] eggs.",
    ),
    _t(
        name="unit_weeks",
        level=2,
        draw="w=3..80 d=2..6",
        ask=(
            "A trip lasts {w} weeks and {d} days. How many days is that?",
            "{A} is away for {w} weeks and {d} days. How many days is that in all?",
            "How many days are {w} weeks and {d} days?",
        ),
        work="The weeks are [t = w * 7] days. In all [t + d] days.",
    ),
    _t(
        name="unit_rope_cut",
        level=2,
        draw="m=2..9 c=15..99",
        ask=(
            "A rope is {m} metres long. {A} cuts off {c} cm. How many cm are left?",
            "From {m} metres of ribbon, {A} uses {c} cm. How many cm of ribbon remain?",
            "{A} has {m} metres of wire and needs {c} cm for a {thing}. How many cm are left over?",
        ),
        work="The whole is [t = m * 100] cm. There are [t - c] cm left.",
    ),
    _t(
        name="unit_rope_pieces",
        level=3,
        draw="m=2..9 c=5..95 k=3..9",
        big="m=10..19 c=5..95 k=3..9",
        ask=(
            "A rope is {m} metres and {c} cm long. {A} cuts it into {k} equal pieces. How many cm is one piece?",
            "{A} divides {m} metres and {c} cm of ribbon into {k} equal parts. How long is a part in cm?",
            "{k} equal pieces are cut from a wire of {m} metres and {c} cm. How many cm long is each piece?",
        ),
        work="The metres are [t = m * 100] cm. The whole is [w = t + c]. Each is [w / k] cm.",
    ),
    _t(
        name="unit_dozen_left",
        level=3,
        draw="d=3..40 s=11..99 b=11..99",
        ask=(
            "A farm has {d} dozen eggs. It sells {s} and uses {b} for cakes. How many eggs are left?",
            "{A} buys {d} dozen eggs. {s} go to the kitchen and {b} to the neighbours. How many eggs remain?",
            "Out of {d} dozen eggs, {s} break and {b} are eaten. How many eggs are left?",
        ),
        work="There are [t = d * 12] eggs. After the first [r = t - s]. There are [r - b] eggs left.",
    ),
    _t(
        name="unit_bottles",
        level=3,
        draw="n=3..9 b=15..95 m=3..9 c=15..75",
        ask=(
            "{A} fills {n} bottles of {b} cl and {m} cups of {c} cl. How many cl of juice are needed?",
            "A kitchen has {n} jars of {b} cl and {m} jars of {c} cl. How many cl do they hold together?",
            "How many cl of tea fill {n} pots of {b} cl and {m} mugs of {c} cl?",
        ),
        work="The first hold [a = n * b]. The others hold [d = m * c]. Together [a + d] cl.",
    ),
    _t(
        name="unit_boards",
        level=4,
        draw="m=4..9 n=2..6 c=21..69 x=12..60",
        ask=(
            "A board is {m} metres long. {A} saws off {n} pieces of {c} cm each and one piece of {x} cm. How many cm are left?",
            "From {m} metres of cloth, {A} cuts {n} strips of {c} cm and a strip of {x} cm. How many cm of cloth remain?",
            "{A} has {m} metres of rope and uses {n} parts of {c} cm each and one part of {x} cm. How many cm of rope are left?",
        ),
        work="The whole is [t = m * 100] cm. The pieces take [y = n * c]. After these [r = t - y]. There are [r - x] cm left.",
    ),
    _t(
        name="unit_eggs_boxes",
        level=4,
        unseen=True,
        draw="d=3..30 s=11..99 x=11..99 k=3..9",
        ask=(
            "A farm has {d} dozen eggs. It sells {s}, then finds {x} more, and packs all of them into {k} equal boxes. How many eggs are in one box?",
            "{A} buys {d} dozen eggs. {s} break, but {B} brings {x} more. They share all the eggs equally among {k} friends. How many eggs does each friend get?",
            "Out of {d} dozen eggs, {s} are eaten. After {x} new ones arrive, all are divided equally among {k} trays. How many eggs are on one tray?",
        ),
        work="There are [t = d * 12] eggs. After the first [r = t - s]. With the new ones [w = r + x]. Each gets [w / k] eggs.",
    ),
)
