"""Dividing things between people and boxes."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="sharing", pool="sweets")

TEMPLATES = (
    _t(
        name="share_equal",
        level=1,
        draw="k=3..9 q=11..99 t:=k*q",
        ask=(
            "{A} shares {t} {things} equally among {k} children. How many does each child get?",
            "{t} {things} are divided equally between {k} friends. How many {things} are there for each?",
            "{A} packs {t} {things} into {k} equal bags. How many {things} are in one bag?",
        ),
        work="Each gets [t / k] {things}.",
    ),
    _t(
        name="share_after_eating",
        level=2,
        draw="k=3..9 q=11..89 e=3..29 x:=k*q t:=x+e",
        ask=(
            "{A} has {t} {things}. {She:eats} {e} and shares the rest equally among {k} friends. How many does each friend get?",
            "Out of {t} {things}, {e} are eaten. The others are divided equally among {k} children. How many does each child get?",
            "There are {t} {things} in a jar. {A} takes out {e} and puts the rest into {k} equal bags. How many {things} are in each bag?",
        ),
        work="There are [r = t - e] left. Each gets [r / k] {things}.",
    ),
    _t(
        name="share_boxes",
        level=2,
        draw="n=3..9 b=12..48 k=3..9",
        ask=(
            "{A} opens {n} boxes of {b} {things} and shares them equally among {k} children. How many does each child get?",
            "{n} bags hold {b} {things} each. All the {things} are divided equally among {k} friends. How many does one friend get?",
            "{k} children share {n} packs of {b} {things} equally. How many {things} are there for each child?",
        ),
        work="There are [t = n * b]. Each gets [t / k] {things}.",
    ),
    _t(
        name="share_two_sorts",
        level=2,
        unseen=True,
        draw="a=21..239 b=21..239 k=3..9",
        ask=(
            "{A} has {a} {things} and {b} {others} and shares all of them equally among {k} friends. How many pieces does each friend get?",
            "{a} {things} and {b} {others} are divided equally into {k} bags. How many pieces are in each bag?",
            "A tray holds {a} {things} and {b} {others}. {k} children share them equally. How many pieces does each child get?",
        ),
        work="There are [t = a + b]. Each gets [t / k] pieces.",
    ),
    _t(
        name="share_then_eat",
        level=3,
        draw="n=3..9 b=12..59 k=3..9 e=2..19",
        big="n=3..9 b=60..99 k=3..9 e=20..40",
        ask=(
            "{k} children share {n} boxes of {b} {things} equally. {A} is one of them and eats {e}. How many {things} does {A} have left?",
            "{A} and some friends, {k} people in all, share {n} bags of {b} {things} equally. Then {A} eats {e}. How many {things} are left for {A}?",
            "{n} packs of {b} {things} are divided equally among {k} children. {A} gives away {e} of {her} share. How many {does} {she} keep?",
        ),
        work="There are [t = n * b]. Each gets [s = t / k]. There are [s - e] left.",
    ),
    _t(
        name="share_join",
        level=3,
        draw="a=31..239 b=31..239 k=3..9 e=3..29",
        ask=(
            "{A} has {a} {things} and {B} has {b}. They put them together and share them equally among {k} friends. {C} is one of these and already had {e}. How many does {C} have now?",
            "{A} brings {a} {things} and {B} brings {b}. All are divided equally among {k} children. {C}, one of the children, had {e} before. How many has {C} now?",
            "{a} {things} and {b} more are shared equally by {k} friends. One of them, {C}, already owned {e}. How many {things} does {C} own now?",
        ),
        work="Together [t = a + b]. Each gets [s = t / k]. In the end there are [s + e].",
    ),
    _t(
        name="share_boxes_extra",
        level=3,
        draw="n=3..9 b=12..69 x=5..99 k=3..9",
        ask=(
            "{A} has {n} boxes of {b} {things} and {x} loose ones. {She:shares} all of them equally among {k} friends. How many does each friend get?",
            "{n} bags of {b} {things} and {x} single {things} are divided equally among {k} children. How many does each child get?",
            "A baker has {n} trays with {b} {things} each and {x} more on a plate. All go into {k} equal boxes. How many {things} are in one box?",
        ),
        work="The full ones hold [t = n * b]. With the others [a = t + x]. Each gets [a / k] {things}.",
    ),
    _t(
        name="share_boxes_eaten",
        level=4,
        draw="n=3..9 b=12..69 e=5..60 k=3..9 h=3..30",
        big="n=3..9 b=70..99 e=61..120 k=3..9 h=31..60",
        ask=(
            "{A} has {n} boxes of {b} {things}. {She:eats} {e} and shares the rest equally among {k} friends. {B} is one of them and already had {h}. How many does {B} have now?",
            "From {n} bags of {b} {things}, {e} are eaten. The rest are divided equally among {k} children. {B}, one of the children, had {h} before. How many does {B} have now?",
            "{n} packs hold {b} {things} each. After {e} are lost, {k} friends share the rest equally. {B}, one of the friends, adds this share to {h} from home. How many {things} does {B} have then?",
        ),
        work="There are [t = n * b]. After that [r = t - e] are left. Each gets [s = r / k]. In the end there are [s + h] {things}.",
    ),
    _t(
        name="share_two_packs",
        level=4,
        draw="n=3..9 b=12..49 m=3..9 c=12..49 k=3..9",
        ask=(
            "{A} has {n} bags of {b} {things} and {m} bags of {c} {others}. {She:shares} everything equally among {k} children. How many pieces does each child get?",
            "{n} boxes of {b} {things} and {m} boxes of {c} {others} are divided equally among {k} friends. How many pieces are there for each friend?",
            "For {k} equal parcels, {A} uses {n} packs of {b} {things} and {m} packs of {c} {others}. How many pieces go into one parcel?",
        ),
        work="There are [t = n * b] {things}. There are [u = m * c] {others}. Together [a = t + u]. Each gets [a / k] pieces.",
    ),
)
