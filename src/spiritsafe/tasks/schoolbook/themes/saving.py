"""Saving money and collecting things."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="saving", pool="cards")

TEMPLATES = (
    _t(
        name="save_more",
        level=1,
        draw="a=101..899 b=11..399",
        ask=(
            "{A} has {a} {things} and gets {b} more. How many {things} is that in all?",
            "There are {a} {things} in an album. {A} adds {b}. How many {things} are in it now?",
            "{A} owns {a} {things} and {B} owns {b}. How many {things} do they own together?",
        ),
        work="In all [a + b] {things}.",
    ),
    _t(
        name="save_fewer",
        level=1,
        draw="a=201..999 b=21..199",
        ask=(
            "{A} has {a} {things} and gives away {b}. How many {things} are left?",
            "{A} owns {a} {things}. {B} owns {b} fewer. How many {things} does {B} own?",
            "Out of {a} {things}, {A} loses {b}. How many {things} remain?",
        ),
        work="There are [a - b] {things}.",
    ),
    _t(
        name="save_weekly",
        level=2,
        draw="s=11..79 w=3..9 h=15..399",
        big="s=80..130 w=3..9 h=400..699",
        ask=(
            "{A} has ${h} and saves ${s} a week for {w} weeks. How many dollars {does} {she} have then?",
            "Each week {A} puts ${s} into a box that already holds ${h}. How many dollars are in it after {w} weeks?",
            "{A} saves ${s} every week. {She:starts} with ${h}. How much money is there after {w} weeks?",
        ),
        work="The weeks bring [t = s * w]. In all [t + h] dollars.",
    ),
    _t(
        name="save_goal",
        level=2,
        draw="s=3..9 w=11..79 h=15..199 x:=s*w g:=x+h",
        ask=(
            "{A} wants a bicycle for ${g} and has ${h}. {She:saves} ${s} a week. How many weeks does it take?",
            "A tent costs ${g}. {A} already has ${h} and saves ${s} each week. After how many weeks can {A} buy it?",
            "{A} needs ${g} and owns ${h}. With ${s} saved per week, how many weeks are needed?",
        ),
        work="The gap is [x = g - h] dollars. That takes [x / s] weeks.",
    ),
    _t(
        name="save_albums",
        level=3,
        draw="n=3..9 p=12..89 x=11..99 g=11..99",
        ask=(
            "{A} has {n} albums with {p} {things} each. {She:gets} {x} more and gives away {g}. How many {things} are there now?",
            "{n} boxes hold {p} {things} each. {A} adds {x} and takes out {g}. How many {things} are there now?",
            "A collection fills {n} pages with {p} {things} each. {x} are bought and {g} are sold. How many {things} are in it now?",
        ),
        work="There were [t = n * p]. With the new ones [u = t + x]. Then [u - g] {things} are there.",
    ),
    _t(
        name="save_swap",
        level=3,
        draw="a=31..199 b=11..59 k=2..4",
        ask=(
            "{A} has {a} {things}. {B} has {b} more than {A}, and {C} has {k} times as many as {B}. How many {things} do {B} and {C} have together?",
            "{B} owns {b} more {things} than {A}, who owns {a}. {C} owns {k} times as many as {B}. How many {things} do {B} and {C} own together?",
            "There are {a} {things} in the red box and {b} more in the blue box. The green box holds {k} times as many as the blue one. How many {things} are in the blue and green boxes together?",
        ),
        work="The second has [s = a + b]. The third has [t = s * k]. Together [s + t] {things}.",
    ),
    _t(
        name="save_goal_split",
        level=3,
        draw="g=300..980/20 h=15..199 w=3..9 x=12..59",
        ask=(
            "{A} wants ${g} and has ${h}. {B} gives {them} ${x}. The rest is saved in {w} equal parts. How many dollars is one part?",
            "A trip costs ${g}. {A} has ${h} and gets ${x} from {B}. {She:saves} the rest equally over {w} weeks. How many dollars is that per week?",
            "{A} needs ${g}. {She:owns} ${h}, and {B} adds ${x}. The rest takes {w} weeks of equal saving. How many dollars must be saved each week?",
        ),
        work="The gap is [r = g - h]. After the gift it is [q = r - x]. Each part is [q / w] dollars.",
    ),
    _t(
        name="save_two_savers",
        level=4,
        draw="s=11..59 w=3..9 h=15..199 r=11..59",
        big="s=60..99 w=3..9 h=200..399 r=60..99",
        ask=(
            "{A} saves ${s} a week and {B} saves ${r} a week. {A} also had ${h} before. How many dollars do they have together after {w} weeks?",
            "For {w} weeks {A} saves ${s} and {B} saves ${r} each week. At the start {A} had ${h} and {B} nothing. How many dollars do they own together in the end?",
            "{B} puts ${r} a week into a box, {A} puts in ${s} a week, and ${h} is in it at the start. How many dollars are in the box after {w} weeks?",
        ),
        work="One saves [x = s * w]. The other saves [y = r * w]. Together [t = x + y]. In all [t + h] dollars.",
    ),
    _t(
        name="save_album_pages",
        level=4,
        draw="n=3..9 p=12..69 x=11..99 g=11..99 k=3..9",
        ask=(
            "{A} has {n} bags with {p} {things} each. {She:finds} {x} more, gives away {g} and sorts the rest into {k} equal piles. How many {things} are in one pile?",
            "{n} boxes hold {p} {things} each. {x} are added and {g} are sold. The rest fill {k} pages equally. How many {things} are on one page?",
            "A club has {n} albums with {p} {things} each. It buys {x}, loses {g}, and shares the rest equally among {k} members. How many {things} does each member get?",
        ),
        work="There were [t = n * p]. With the new ones [u = t + x]. Then [v = u - g] are there. Each part is [v / k] {things}.",
    ),
)
