"""Speed, work and pay."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="rates", pool="made")

TEMPLATES = (
    _t(
        name="rate_distance",
        level=1,
        pool="travel",
        draw="v=31..99 h=3..9",
        ask=(
            "A {thing} travels {v} km in an hour. How many km does it travel in {h} hours?",
            "A {thing} goes at {v} km per hour for {h} hours. How far does it go in km?",
            "{A} rides in a {thing} at {v} km per hour. How many km are covered in {h} hours?",
        ),
        work="It covers [v * h] km.",
    ),
    _t(
        name="rate_speed",
        level=1,
        pool="travel",
        draw="h=3..9 v=21..99 d:=v*h",
        ask=(
            "A {thing} covers {d} km in {h} hours at a steady speed. How many km is that per hour?",
            "In {h} hours a {thing} travels {d} km. What is its speed in km per hour?",
            "{A} needs {h} hours to travel {d} km by {thing}. How many km are covered in one hour?",
        ),
        work="In one hour [d / h] km.",
    ),
    _t(
        name="rate_made_sold",
        level=2,
        draw="r=12..79 h=3..9 s=11..99",
        ask=(
            "A workshop makes {r} {things} per hour. It works for {h} hours and sells {s} {things}. How many are left?",
            "{A} makes {r} {things} an hour for {h} hours. {s} of them are sold. How many {things} remain?",
            "After {h} hours at {r} {things} per hour, {s} {things} are taken away. How many {things} are still there?",
        ),
        work="The total is [t = r * h]. There are [t - s] {things} left.",
    ),
    _t(
        name="rate_wage_bonus",
        level=2,
        draw="w=11..49 h=3..9 b=15..150",
        ask=(
            "{A} earns ${w} an hour. {She:works} {h} hours and gets a bonus of ${b}. How much {does} {she} earn in all?",
            "A job pays ${w} per hour and a bonus of ${b} at the end. How many dollars does {A} get for {h} hours?",
            "For {h} hours of work at ${w} an hour and a tip of ${b}, how many dollars does {A} take home?",
        ),
        work="The hours pay [t = w * h]. With the extra [t + b] dollars.",
    ),
    _t(
        name="rate_fill",
        level=2,
        unseen=True,
        draw="r=3..9 q=12..90 a=15..150 x:=r*q t:=x+a",
        ask=(
            "A tank holds {t} litres and has {a} litres in it. Water flows in at {r} litres per minute. How many minutes until it is full?",
            "{A} fills a pool of {t} litres that already holds {a} litres. The hose gives {r} litres per minute. How many minutes does it take?",
            "A barrel of {t} litres contains {a} litres. How many minutes does a pipe with {r} litres per minute need to fill it?",
        ),
        work="It needs [x = t - a] litres. That takes [x / r] minutes.",
    ),
    _t(
        name="rate_two_legs",
        level=3,
        pool="travel",
        draw="v=31..99 h=2..9 w=31..99 g=2..9",
        big="v=100..140 h=2..9 w=100..140 g=2..9",
        ask=(
            "A {thing} travels {h} hours at {v} km per hour and then {g} hours at {w} km per hour. How far does it go in km?",
            "{A} goes by {thing} at {v} km per hour for {h} hours, then by {other} at {w} km per hour for {g} hours. How many km is the trip?",
            "First a {thing} does {v} km per hour for {h} hours, then {w} km per hour for {g} hours. How many km is that in all?",
        ),
        work="The first part is [a = v * h]. The second is [b = w * g]. Together [a + b] km.",
    ),
    _t(
        name="rate_trip_rest",
        level=3,
        pool="travel",
        draw="v=31..99 h=2..8 w=3..9 k=12..80 x:=v*h y:=w*k d:=x+y",
        ask=(
            "A trip is {d} km long. A {thing} goes {h} hours at {v} km per hour. The rest is split equally over {w} days. How many km are left for each day?",
            "{A} plans a tour of {d} km. On the first day a {thing} goes {v} km per hour for {h} hours. The rest takes {w} equal days. How many km are there on each of these days?",
            "Out of {d} km, a {thing} covers {h} hours at {v} km per hour. The remaining way is divided into {w} equal parts. How many km is one part?",
        ),
        work="The first part is [x = v * h]. The rest is [y = d - x]. Each is [y / w] km.",
    ),
    _t(
        name="rate_two_machines",
        level=3,
        draw="a=12..69 b=12..69 h=3..9 s=15..199",
        ask=(
            "One machine makes {a} {things} per hour, another makes {b}. Both run for {h} hours, and {s} {things} are sold. How many are left?",
            "{A} makes {a} {things} an hour and {B} makes {b}. After {h} hours {s} of the {things} are sold. How many {things} are left?",
            "Two workshops make {a} and {b} {things} per hour. In {h} hours of work {s} {things} turn out broken. How many good {things} are there?",
        ),
        work="Per hour [r = a + b]. In all [t = r * h]. There are [t - s] {things} left.",
    ),
    _t(
        name="rate_wage_days",
        level=4,
        draw="d=3..6 h=3..9 w=3..9 f=11..99 g=15..150",
        ask=(
            "{A} works {h} hours a day for {d} days at ${w} an hour. {She:pays} ${f} for the bus and gets a gift of ${g}. How many dollars {does} {she} have in the end?",
            "A job lasts {d} days with {h} hours each and pays ${w} an hour. {A} spends ${f} of the money and then finds ${g}. How many dollars {does} {she} have?",
            "For {d} days {A} works {h} hours a day and earns ${w} per hour. Food costs {them} ${f}, and a bonus brings ${g}. How many dollars remain?",
        ),
        work="The hours are [t = d * h]. They pay [p = t * w]. After costs [r = p - f]. In the end [r + g] dollars.",
    ),
    _t(
        name="rate_orders",
        level=4,
        draw="r=12..69 h=3..9 s=15..199 k=3..9 p=2..5",
        big="r=70..99 h=3..9 s=200..299 k=3..9 p=6..19",
        ask=(
            "A workshop makes {r} {things} per hour for {h} hours. {s} are sold and the rest go equally to {k} shops. One shop then sells {p}. How many {things} does that shop have left?",
            "{A} makes {r} {things} an hour for {h} hours and sells {s}. {k} stores share the rest equally. One store sells {p} of its {things}. How many are left in that store?",
            "A factory runs for {h} hours and makes {r} {things} per hour. {s} are broken; the others are divided equally among {k} rooms. In one room {p} are used. How many {things} are left there?",
        ),
        work="The total is [t = r * h]. The rest is [x = t - s]. Each gets [y = x / k]. There are [y - p] {things} left.",
    ),
)
