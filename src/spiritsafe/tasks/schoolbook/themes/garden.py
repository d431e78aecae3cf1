"""Rows, fields and groups at school and in the garden."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="garden", pool="plants")

TEMPLATES = (
    _t(
        name="rows_total",
        level=1,
        draw="r=3..9 c=12..99",
        ask=(
            "A garden has {r} rows with {c} {things} in each. How many {things} are there?",
            "{A} plants {r} rows of {c} {things}. How many {things} is that?",
            "In each of {r} rows there are {c} {things}. How many {things} are there in all?",
        ),
        work="There are [r * c] {things}.",
    ),
    _t(
        name="field_fence",
        level=2,
        draw="l=21..99 w=11..89",
        ask=(
            "A field is {l} metres long and {w} metres wide. How many metres of fence go around it?",
            "{A} walks once around a garden of {l} by {w} metres. How many metres is that?",
            "What is the perimeter in metres of a yard that is {l} metres long and {w} metres wide?",
        ),
        work="Two sides are [s = l + w] metres. All the way around is [s * 2] metres.",
    ),
    _t(
        name="rows_dead",
        level=2,
        draw="r=3..9 c=12..89 d=11..99",
        ask=(
            "A garden has {r} rows of {c} {things}. A storm destroys {d}. How many {things} are left?",
            "{A} plants {r} rows with {c} {things} each, but {d} do not grow. How many {things} grow?",
            "Out of {r} rows of {c} {things}, {d} {things} are sold. How many {things} remain?",
        ),
        work="There are [t = r * c]. Then [t - d] {things} are left.",
    ),
    _t(
        name="classes_buses",
        level=2,
        unseen=True,
        draw="n=3..9 s=14..60 k=3..9",
        ask=(
            "{n} classes of {s} pupils fill {k} buses equally. How many pupils are in one bus?",
            "A school has {n} groups of {s} children. They are split equally over {k} rooms. How many children are in one room?",
            "{n} teams of {s} players form {k} equal new teams. How many players are in a new team?",
        ),
        work="There are [t = n * s]. Each has [t / k] people.",
    ),
    _t(
        name="field_fence_cost",
        level=3,
        draw="l=11..29 w=5..15 p=2..9",
        ask=(
            "A yard is {l} metres long and {w} metres wide. A fence costs ${p} per metre. How many dollars does a fence around it cost?",
            "{A} puts a fence around a garden of {l} by {w} metres. One metre costs ${p}. What is the price in dollars?",
            "How many dollars does it cost to fence a field of {l} by {w} metres at ${p} a metre?",
        ),
        work="Two sides are [s = l + w]. Around it is [q = s * 2] metres. It costs [q * p] dollars.",
    ),
    _t(
        name="rows_two_beds",
        level=3,
        draw="r=3..9 c=12..79 m=3..9 b=12..79",
        big="r=3..9 c=80..120 m=3..9 b=80..120",
        ask=(
            "{A} plants {r} rows of {c} {things} and {m} rows of {b} {others}. How many plants is that?",
            "A park has {r} beds with {c} {things} each and {m} beds with {b} {others} each. How many plants are there?",
            "There are {r} rows of {c} {things} and {m} rows of {b} {others}. How many plants are there together?",
        ),
        work="There are [x = r * c] {things}. There are [y = m * b] {others}. Together [x + y] plants.",
    ),
    _t(
        name="classes_trip",
        level=3,
        draw="n=3..9 s=14..32 t=3..15 k=3..9",
        ask=(
            "{n} classes of {s} pupils and {t} teachers ride in {k} buses with equal numbers. How many people are in one bus?",
            "A trip has {n} groups of {s} children and {t} helpers. They form {k} equal teams. How many people are in a team?",
            "{n} schools send {s} pupils each, and {t} guests come too. All sit at {k} tables equally. How many people sit at one table?",
        ),
        work="The groups have [p = n * s]. With the others [q = p + t]. Each has [q / k] people.",
    ),
    _t(
        name="rows_harvest",
        level=4,
        draw="r=3..9 c=12..29 d=11..79 p=2..5 f=15..150",
        ask=(
            "{A} plants {r} rows of {c} {things}. {d} die, and the rest are sold at ${p} each. The seeds cost ${f}. How many dollars of profit are there?",
            "A garden has {r} rows of {c} {things}. {d} are stolen. {A} sells the others for ${p} each and pays ${f} for help. How many dollars remain?",
            "From {r} rows of {c} {things}, {d} do not grow. The rest bring ${p} each, but water costs ${f}. How many dollars are left?",
        ),
        work="There are [t = r * c]. Then [u = t - d] are left. They bring [v = u * p]. After costs [v - f] dollars.",
    ),
    _t(
        name="classes_tickets",
        level=4,
        draw="n=3..6 s=14..29 t=3..15 p=2..5 f=15..99",
        big="n=7..9 s=30..39 t=16..30 p=6..9 f=100..299",
        ask=(
            "{n} classes of {s} pupils and {t} teachers visit a zoo. A ticket costs ${p}, and the school pays ${f} of the total. How many dollars are left to pay?",
            "A trip has {n} groups of {s} children and {t} helpers. Each person pays ${p}. The guide costs ${f} of this money. How many dollars remain?",
            "{n} teams of {s} players and {t} guests each pay ${p} for a party. The room costs ${f}. How many dollars are left?",
        ),
        work="The groups have [a = n * s]. With the others [q = a + t]. They pay [v = q * p]. There are [v - f] dollars left.",
    ),
    _t(
        name="classes_prizes",
        level=4,
        unseen=True,
        draw="n=3..9 s=12..49 m=3..9 b=12..49 d=15..99",
        ask=(
            "A school has {n} classes of {s} pupils and {m} classes of {b} pupils. {d} pupils are ill today. How many pupils are at school?",
            "{n} buses with {s} people and {m} buses with {b} people arrive. {d} people leave. How many people stay?",
            "There are {n} teams of {s} players and {m} teams of {b} players. {d} players go home. How many players are left?",
        ),
        work="The first have [x = n * s]. The others have [y = m * b]. Together [t = x + y]. There are [t - d] people left.",
    ),
)
