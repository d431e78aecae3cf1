"""Ages of people and their relatives, in years."""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

from functools import partial

from spiritsafe.tasks.schoolbook.template import Template

_t = partial(Template, theme="ages", pool="relatives")

TEMPLATES = (
    _t(
        name="age_future",
        level=1,
        draw="a=11..79 y=5..49",
        ask=(
            "{A} is {a} years old. How old will {A} be in {y} years?",
            "{A} is {a} today. What will the age of {A} be after {y} years?",
            "The {thing} of {A} is {a} years old now. How old is this {thing} in {y} years?",
        ),
        work="The age will be [a + y] years.",
    ),
    _t(
        name="age_pair",
        level=2,
        draw="a=8..69 d=3..29",
        ask=(
            "{A} is {a} years old and {B} is {d} years older. How old are they together?",
            "{B} is {d} years older than {A}, who is {a}. What is the sum of their ages?",
            "{A} is {a}. {Her} neighbour {B} is {d} years older. What do their ages add up to?",
        ),
        work="The older one is [b = a + d]. Together [a + b] years.",
    ),
    _t(
        name="age_times_past",
        level=2,
        draw="a=8..24 k=2..5 y=3..15",
        ask=(
            "{A} is {a} years old. {B} is {k} times as old. How old was {B} {y} years ago?",
            "{B} is {k} times as old as {A}, who is {a}. What was the age of {B} {y} years ago?",
            "{A} is {a} and {her} aunt is {k} times as old. How old was the aunt {y} years ago?",
        ),
        work="The age is now [b = a * k]. At that time the age was [b - y] years.",
    ),
    _t(
        name="age_three",
        level=3,
        draw="a=9..29 k=2..3 d=3..19",
        ask=(
            "{A} is {a} years old. {B} is {k} times as old, and {C} is {d} years younger than {B}. How old are {A} and {C} together?",
            "{B} is {k} times as old as {A}, who is {a}. {C} is {d} years younger than {B}. What is the sum of the ages of {A} and {C}?",
            "{A} is {a}, {B} is {k} times as old. {C} is {d} years younger than {B}. What do the ages of {A} and {C} add up to?",
        ),
        work="The oldest is [b = a * k]. The third is [c = b - d]. Together [a + c] years.",
    ),
    _t(
        name="age_average",
        level=3,
        unseen=True,
        draw="a=9..69 d=3..29",
        ask=(
            "{A} is {a} years old and {B} is {d} years older. What is the average of their ages?",
            "{B} is {d} years older than {A}, who is {a}. How old are they on average?",
            "The ages of {A} and {B} are averaged. {A} is {a}, and {B} is {d} years older. What is the average?",
        ),
        work="The older one is [b = a + d]. Together [t = a + b]. On average [t / 2] years.",
    ),
    _t(
        name="age_future_sum",
        level=4,
        draw="a=8..59 d=3..29 y=3..29",
        ask=(
            "{A} is {a} years old and {B} is {d} years older. What will the sum of their ages be in {y} years?",
            "{B} is {d} years older than {A}, who is {a}. How old will they be together in {y} years?",
            "{A} is {a} now. {Her} neighbour {B} is {d} years older. What will their ages add up to {y} years from now?",
        ),
        work="The older one is [b = a + d]. Later the ages are [e = a + y] and [f = b + y]. Together [e + f] years.",
    ),
    _t(
        name="age_family",
        level=4,
        draw="a=8..19 k=2..4 d=3..19 e=3..29",
        ask=(
            "{A} is {a}. {B} is {k} times as old, and {C} is {d} years younger than {B}. The aunt of {A} is {e} years older than {A} and {C} together. How old is the aunt?",
            "{B} is {k} times as old as {A}, who is {a}. {C} is {d} years younger than {B}. A neighbour is {e} years older than {A} and {C} together. How old is the neighbour?",
            "{A} is {a} years old, {B} is {k} times as old, and {C} is {d} years younger than {B}. A tree is {e} years older than {A} and {C} together. How old is the tree?",
        ),
        work="The oldest is [b = a * k]. The third is [c = b - d]. Together [t = a + c]. The answer is [t + e] years.",
    ),
)
