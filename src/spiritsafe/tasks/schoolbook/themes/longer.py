"""Stretch problems: chains of five and six steps, longer than any trained one."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, level=5, pool="goods")

TEMPLATES = (
    _t(
        name="long_shop",
        theme="shopping",
        draw="n=3..9 p=11..49 k=3..9 q=11..49 d=5..40 m=300..1200/50",
        ask=(
            "{A} has ${m} and buys {n} {things} at ${p} each and {k} {others} at ${q} each. A coupon takes ${d} off. How many dollars are left?",
            "{Things} cost ${p} and {others} cost ${q}. {A} pays for {n} {things} and {k} {others} with ${m} and a coupon for ${d}. How much money is left?",
            "With ${m} and a coupon for ${d}, a club buys {n} {things} at ${p} each and {k} {others} at ${q} each. How many dollars remain?",
        ),
        work="The {things} cost [c = n * p]. The {others} cost [e = k * q]. Together [b = c + e]. With the coupon [f = b - d]. There are [m - f] dollars left.",
    ),
    _t(
        name="long_share",
        theme="sharing",
        pool="sweets",
        draw="n=3..9 b=12..49 m=3..9 c=12..49 e=5..60 k=3..9",
        ask=(
            "{A} has {n} bags of {b} {things} and {m} bags of {c} {others}. {She:eats} {e} pieces and shares the rest equally among {k} children. How many pieces does each child get?",
            "{n} boxes of {b} {things} and {m} boxes of {c} {others} are opened. {e} pieces are eaten and the rest are divided equally among {k} friends. How many pieces does each friend get?",
            "From {n} packs of {b} {things} and {m} packs of {c} {others}, {e} pieces are lost. The others fill {k} equal parcels. How many pieces are in one parcel?",
        ),
        work="There are [t = n * b] {things}. There are [u = m * c] {others}. Together [a = t + u]. Then [r = a - e] are left. Each gets [r / k] pieces.",
    ),
    _t(
        name="long_work",
        theme="rates",
        pool="made",
        draw="d=3..6 h=3..9 w=3..9 f=11..99 g=15..150 k=3..9",
        ask=(
            "{A} works {h} hours a day for {d} days at ${w} an hour. {She:pays} ${f} for the bus, gets a gift of ${g} and divides the money equally among {k} boxes. How many dollars are in one box?",
            "A job lasts {d} days with {h} hours each and pays ${w} an hour. {A} spends ${f}, then finds ${g}, and splits the money into {k} equal parts. How many dollars is one part?",
            "For {d} days {A} works {h} hours a day and earns ${w} per hour. Food costs ${f}, a bonus brings ${g}, and {k} children share the rest equally. How many dollars does each child get?",
        ),
        work="The hours are [t = d * h]. They pay [p = t * w]. After costs [r = p - f]. In the end [s = r + g]. Each gets [s / k] dollars.",
    ),
    _t(
        name="long_garden",
        theme="garden",
        pool="plants",
        draw="r=3..9 c=12..59 m=3..9 b=12..59 d=11..79 p=2..6 f=15..150",
        ask=(
            "{A} plants {r} rows of {c} {things} and {m} rows of {b} {others}. {d} plants die, and the rest are sold at ${p} each. The seeds cost ${f}. How many dollars of profit are there?",
            "A garden has {r} rows of {c} {things} and {m} rows of {b} {others}. {d} plants are stolen. {A} sells the others for ${p} each and pays ${f} for help. How many dollars remain?",
            "From {r} rows of {c} {things} and {m} rows of {b} {others}, {d} plants do not grow. The rest bring ${p} each, but water costs ${f}. How many dollars are left?",
        ),
        work="There are [x = r * c] {things}. There are [y = m * b] {others}. Together [t = x + y]. Then [u = t - d] are left. They bring [v = u * p]. After costs [v - f] dollars.",
    ),
)
