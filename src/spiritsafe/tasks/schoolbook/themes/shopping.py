"""Buying things, paying and getting change. Numbers are dollars and counts."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="shopping")

TEMPLATES = (
    _t(
        name="shop_total",
        level=1,
        draw="n=3..9 p=11..99",
        ask=(
            "{A} buys {n} {things} at ${p} each. How many dollars {does} {she} pay?",
            "One {thing} costs ${p}. How much do {n} {things} cost?",
            "A shop sells {things} for ${p} each. {A} takes {n} of them. What is the price in dollars?",
        ),
        work="The {things} cost [n * p] dollars.",
    ),
    _t(
        name="shop_change",
        level=2,
        draw="n=3..9 p=11..98 m=50..900/10",
        big="n=3..9 p=100..160 m=910..1900/10",
        ask=(
            "{A} has ${m} and buys {n} {things} at ${p} each. How much money is left?",
            "{n} {things} at ${p} each are paid for with ${m}. How many dollars of change does {A} get?",
            "With ${m} in hand, {A} pays for {n} {things}. Each {thing} costs ${p}. How many dollars remain?",
        ),
        work="The {things} cost [c = n * p]. There are [m - c] dollars left.",
    ),
    _t(
        name="shop_discount",
        level=2,
        draw="n=3..9 p=21..99 d=3..19",
        ask=(
            "A {thing} costs ${p}, but today each one is ${d} cheaper. What do {n} {things} cost today?",
            "{A} buys {n} {things}. The old price was ${p} each and it has dropped by ${d}. How much {does} {she} pay?",
            "{Things} usually cost ${p} each. In the sale {A} saves ${d} on every {thing}. How many dollars are {n} {things}?",
        ),
        work="One costs [r = p - d]. All cost [r * n] dollars.",
    ),
    _t(
        name="shop_bill",
        level=2,
        draw="n=3..9 p=11..98 q=21..399",
        ask=(
            "{A} buys {n} {things} at ${p} each and one {other} for ${q}. What is the total in dollars?",
            "A {other} costs ${q} and a {thing} costs ${p}. {A} takes one {other} and {n} {things}. How much is the bill?",
            "How many dollars does {A} spend on {n} {things} at ${p} each and a {other} at ${q}?",
        ),
        work="The {things} cost [c = n * p]. The bill is [c + q] dollars.",
    ),
    _t(
        name="shop_two_kinds",
        level=3,
        draw="n=3..9 p=11..79 k=3..9 q=11..79",
        big="n=3..9 p=80..130 k=3..9 q=80..130",
        ask=(
            "{A} buys {n} {things} at ${p} each and {k} {others} at ${q} each. How much {does} {she} spend?",
            "{Things} cost ${p} and {others} cost ${q}. What do {n} {things} and {k} {others} cost together?",
            "A school orders {n} {things} for ${p} each and {k} {others} for ${q} each. How many dollars is that in all?",
        ),
        work="The {things} cost [c = n * p]. The {others} cost [e = k * q]. Together [c + e] dollars.",
    ),
    _t(
        name="shop_compare",
        level=3,
        draw="n=3..9 p=11..89 k=3..9 q=11..59",
        ask=(
            "{A} buys {n} {things} at ${p} each. {B} buys {k} {others} at ${q} each. How much more does {A} spend?",
            "{n} {things} cost ${p} each and {k} {others} cost ${q} each. How many dollars more do the {things} cost in total?",
            "{A} paid for {n} {things} at ${p} each, {B} for {k} {others} at ${q} each. By how many dollars is the bill of {A} higher?",
        ),
        work="The {things} cost [c = n * p]. The {others} cost [e = k * q]. The difference is [c - e] dollars.",
    ),
    _t(
        name="shop_coupon",
        level=3,
        unseen=True,
        draw="n=3..9 p=11..89 q=21..299 d=5..60",
        ask=(
            "{A} buys {n} {things} at ${p} each and a {other} for ${q}. A coupon takes ${d} off the bill. How much {does} {she} pay?",
            "A {other} costs ${q} and a {thing} costs ${p}. With a coupon worth ${d}, what do one {other} and {n} {things} cost?",
            "The basket of {A} holds {n} {things} at ${p} each and one {other} at ${q}. {She:has} a coupon for ${d}. How many dollars must {she} pay?",
        ),
        work="The {things} cost [c = n * p]. The bill is [b = c + q]. With the coupon it is [b - d] dollars.",
    ),
    _t(
        name="shop_two_kinds_change",
        level=4,
        draw="n=3..9 p=11..69 k=3..9 q=11..69 m=200..1200/50",
        big="n=3..9 p=70..120 k=3..9 q=70..120 m=1250..2400/50",
        ask=(
            "{A} has ${m} and buys {n} {things} at ${p} each and {k} {others} at ${q} each. How much money is left?",
            "{Things} cost ${p}, {others} cost ${q}. {A} takes {n} {things} and {k} {others} and pays with ${m}. How much change is due?",
            "From ${m}, a club pays for {n} {things} at ${p} each and {k} {others} at ${q} each. How many dollars remain?",
        ),
        work="The {things} cost [c = n * p]. The {others} cost [e = k * q]. Together [b = c + e]. There are [m - b] dollars left.",
    ),
    _t(
        name="shop_split_bill",
        level=4,
        draw="n=3..9 p=11..59 k=3..9 q=11..59 f=3..9",
        ask=(
            "{f} friends buy {n} {things} at ${p} each and {k} {others} at ${q} each. They share the bill equally. How much does each pay?",
            "{n} {things} at ${p} each and {k} {others} at ${q} each are paid for by {f} friends in equal parts. How many dollars is one part?",
            "{A} and some friends, {f} people in all, split the cost of {n} {things} at ${p} and {k} {others} at ${q} each. What does each of them pay?",
        ),
        work="The {things} cost [c = n * p]. The {others} cost [e = k * q]. Together [b = c + e]. Each pays [b / f] dollars.",
    ),
)
