"""Unseen templates that are near to trained ones: known sentences about other things, or turned round.

The other unseen templates have sentences of their own, which is a much longer way.
"""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, unseen=True)

TEMPLATES = (
    _t(
        name="near_plant_change",
        theme="garden",
        level=2,
        pool="plants",
        draw="n=3..9 p=11..98 m=50..900/10",
        ask=(
            "{A} has ${m} and buys {n} {things} at ${p} each. How much money is left?",
            "{n} {things} at ${p} each are paid for with ${m}. How many dollars of change does {A} get?",
            "With ${m} in hand, {A} pays for {n} {things}. Each {thing} costs ${p}. How many dollars remain?",
        ),
        work="The {things} cost [c = n * p]. There are [m - c] dollars left.",
    ),
    _t(
        name="near_share_cards",
        theme="sharing",
        level=2,
        pool="cards",
        draw="k=3..9 q=11..89 e=3..29 x:=k*q t:=x+e",
        ask=(
            "{A} has {t} {things}. {She:gives} away {e} and shares the rest equally among {k} friends. How many does each friend get?",
            "Out of {t} {things}, {e} are lost. The others are divided equally among {k} children. How many does each child get?",
            "There are {t} {things} in a jar. {A} takes out {e} and puts the rest into {k} equal bags. How many {things} are in each bag?",
        ),
        work="There are [r = t - e] left. Each gets [r / k] {things}.",
    ),
    _t(
        name="near_plant_two_kinds",
        theme="garden",
        level=3,
        pool="plants",
        draw="n=3..9 p=11..79 k=3..9 q=11..79",
        ask=(
            "{A} buys {n} {things} at ${p} each and {k} {others} at ${q} each. How much {does} {she} spend?",
            "{Things} cost ${p} and {others} cost ${q}. What do {n} {things} and {k} {others} cost together?",
            "A park orders {n} {things} for ${p} each and {k} {others} for ${q} each. How many dollars is that in all?",
        ),
        work="The {things} cost [c = n * p]. The {others} cost [e = k * q]. Together [c + e] dollars.",
    ),
    _t(
        name="near_rows_of_toys",
        theme="garden",
        level=3,
        pool="made",
        draw="r=3..9 c=12..79 m=3..9 b=12..79",
        ask=(
            "{A} puts up {r} rows of {c} {things} and {m} rows of {b} {others}. How many things is that?",
            "A shop has {r} shelves with {c} {things} each and {m} shelves with {b} {others} each. How many things are there?",
            "There are {r} rows of {c} {things} and {m} rows of {b} {others}. How many things are there together?",
        ),
        work="There are [x = r * c] {things}. There are [y = m * b] {others}. Together [x + y] things.",
    ),
    _t(
        name="near_toys_change",
        theme="shopping",
        level=4,
        pool="made",
        draw="n=3..9 p=11..69 k=3..9 q=11..69 m=200..1200/50",
        ask=(
            "{A} has ${m} and buys {n} {things} at ${p} each and {k} {others} at ${q} each. How much money is left?",
            "{Things} cost ${p}, {others} cost ${q}. {A} takes {n} {things} and {k} {others} and pays with ${m}. How much change is due?",
            "From ${m}, a club pays for {n} {things} at ${p} each and {k} {others} at ${q} each. How many dollars remain?",
        ),
        work="The {things} cost [c = n * p]. The {others} cost [e = k * q]. Together [b = c + e]. There are [m - b] dollars left.",
    ),
)
