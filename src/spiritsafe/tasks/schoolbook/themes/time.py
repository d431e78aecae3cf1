"""Minutes, hours, days and weeks."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="time", pool="chores")

TEMPLATES = (
    _t(
        name="time_practice",
        level=1,
        draw="m=12..90 d=3..9",
        ask=(
            "{A} practises the {things} {m} minutes a day. How many minutes is that in {d} days?",
            "A lesson lasts {m} minutes. How many minutes do {d} lessons last?",
            "{A} trains for {m} minutes every day. How many minutes of training is that in {d} days?",
        ),
        work="The total is [m * d] minutes.",
    ),
    _t(
        name="time_to_minutes",
        level=2,
        draw="h=2..12 m=5..59",
        ask=(
            "A film lasts {h} hours and {m} minutes. How many minutes is that?",
            "{A} is on the road for {h} hours and {m} minutes. How many minutes is that in all?",
            "How many minutes are {h} hours and {m} minutes?",
        ),
        work="The hours are [t = h * 60] minutes. In all [t + m] minutes.",
    ),
    _t(
        name="time_evening",
        level=2,
        draw="a=11..95 b=11..95 c=11..95",
        ask=(
            "{A} spends {a} minutes on homework, {b} minutes on the {things} and {c} minutes on dinner. How many minutes is that in all?",
            "A show has three parts of {a}, {b} and {c} minutes. How many minutes does it last?",
            "{A} walks {a} minutes to the station, rides {b} minutes and walks {c} minutes more. How many minutes does the way take?",
        ),
        work="The first two take [t = a + b]. In all [t + c] minutes.",
    ),
    _t(
        name="time_left",
        level=3,
        draw="h=2..9 a=15..90 b=15..90",
        big="h=10..15 a=91..150 b=91..150",
        ask=(
            "{A} has {h} hours. {She:reads} for {a} minutes and plays the {things} for {b} minutes. How many minutes are left?",
            "A meeting is planned for {h} hours. The first talk takes {a} minutes and the second {b}. How many minutes remain?",
            "Out of {h} hours, {A} needs {a} minutes for cooking and {b} minutes for cleaning. How many minutes does that leave?",
        ),
        work="There are [t = h * 60] minutes. After the first [r = t - a]. There are [r - b] minutes left.",
    ),
    _t(
        name="time_week",
        level=3,
        draw="m=12..69 d=3..6 w=25..120 k=2..4",
        ask=(
            "{A} practises the {things} {m} minutes on each of {d} days and {w} minutes on each of {k} other days. How many minutes is that in all?",
            "On {d} days {A} runs for {m} minutes and on {k} days for {w} minutes. How many minutes of running is that together?",
            "A course has {d} short lessons of {m} minutes and {k} long lessons of {w} minutes. How many minutes does it last?",
        ),
        work="The first ones take [a = m * d]. The others take [b = w * k]. Together [a + b] minutes.",
    ),
    _t(
        name="time_share",
        level=3,
        unseen=True,
        draw="h=2..9 a=15..59 k=3..9",
        ask=(
            "A play lasts {h} hours. After a speech of {a} minutes, the rest is split equally into {k} scenes. How many minutes is one scene?",
            "{A} has {h} hours. {She:rests} for {a} minutes and divides the remaining time equally among {k} tasks. How many minutes does each task get?",
            "From {h} hours, {a} minutes go to a break. The rest makes {k} equal lessons. How many minutes is one lesson?",
        ),
        work="There are [t = h * 60] minutes. The rest is [r = t - a]. Each is [r / k] minutes.",
    ),
    _t(
        name="time_days",
        level=4,
        draw="m=12..59 d=3..9 b=12..59 e=3..9 g=600..1200/20",
        big="m=60..99 d=3..9 b=60..99 e=3..9 g=1220..1900/20",
        ask=(
            "{A} wants to practise {g} minutes. {She:plays} {m} minutes on each of {d} days and {b} minutes on each of {e} days. How many minutes are still missing?",
            "A class must read for {g} minutes. It reads {d} times for {m} minutes and {e} times for {b} minutes. How many minutes are still to do?",
            "The plan says {g} minutes of running. {A} runs {d} times for {m} minutes and {e} times for {b} minutes. How many minutes are missing?",
        ),
        work="The first ones take [a = m * d]. The others take [c = b * e]. Together [t = a + c]. The rest is [g - t] minutes.",
    ),
    _t(
        name="time_hours_plan",
        level=4,
        draw="h=3..9 n=3..6 m=12..49 b=11..59",
        ask=(
            "{A} has {h} hours. There are {n} lessons of {m} minutes each and a break of {b} minutes. How many minutes are left?",
            "A fair is open for {h} hours. {n} talks of {m} minutes each and {b} minutes of music are planned. How many minutes remain free?",
            "Out of {h} hours, {n} meetings take {m} minutes each and lunch takes {b} minutes. How many minutes are left for {A}?",
        ),
        work="There are [t = h * 60] minutes. The parts take [a = n * m]. In all [c = a + b]. There are [t - c] minutes left.",
    ),
)
