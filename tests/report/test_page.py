import shutil
from html.parser import HTMLParser

import pytest

from spiritsafe.report.model import Comparison, choose, read
from spiritsafe.report.page import page, render
from spiritsafe.rundir import RunDir

VOID = {"meta", "br", "img", "link", "input"}
SECTIONS = [
    "models",
    "scores",
    "cost",
    "learning",
    "pilot",
    "data",
    "answers",
    "spend",
    "time",
    "recipe",
    "environment",
    "words",
]


class Reader(HTMLParser):
    """Tags, ids and visible text of a page; checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def html(finished):
    return render(finished).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reader(html):
    return Reader(html)


def test_every_section_is_there_and_ids_are_unique(reader):
    assert [i for i in reader.ids if i in SECTIONS] == SECTIONS
    assert len(reader.ids) == len(set(reader.ids))


def test_references_inside_the_pictures_lead_somewhere(html, reader):
    used = {part.split(")")[0] for part in html.split("url(#")[1:]}
    used |= {part.split('"')[0] for part in html.split('href="#')[1:]}
    assert used
    assert used <= set(reader.ids)


def test_the_result_is_said_first_and_in_words(finished, reader):
    gap = finished.read_json("result.json")["gap_closed"]["value"]
    assert f"The student closes {100 * gap:.0f} % of the gap between baseline and teacher" in reader.text
    assert "27 % of the size and 2.7 times the speed" in reader.text
    assert "On 240 held-out problems the student scores" in reader.text


def test_nothing_is_loaded_and_nothing_runs(reader):
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "object", "form"}
    for _, attributes in reader.tags:
        assert not any(key.startswith("on") for key in attributes)
        assert "src" not in attributes
        assert all(v.startswith("#") for k, v in attributes.items() if k.endswith("href"))
    policy = [a["content"] for t, a in reader.tags if t == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_foreign_text_is_shown_as_text(example, reader):
    assert example.HOSTILE in reader.text


def test_no_nan_and_no_none_is_printed(reader):
    before_recipe, _, recipe_and_rest = reader.text.partition("The resolved recipe")
    shown = before_recipe + recipe_and_rest.partition("Date (UTC)")[2]
    assert not {"nan", "inf", "None", "null"} & set(shown.split())


def test_right_and_wrong_are_words_not_colours_alone(reader):
    marks = [w for w in reader.words if w.strip() in ("\u2713 right", "\u2717 wrong")]
    assert len(marks) == 30


def test_the_page_is_the_same_every_time(finished, html):
    assert page(read(finished)) == html


def test_spend_recipe_environment_and_times_are_shown(reader):
    shown = ("8,200", "9 (7 http 500, 2 timeout)", "8,460", "811,902", "Example CPU @ 2.50GHz")
    for part in (*shown, "train_prompts: 8000", "train-student-0"):
        assert part in reader.text
    assert "8,011 of 8,191 collected answers were accepted" in reader.text
    assert "near duplicate" in reader.text


def test_an_api_teacher_has_dashes_and_a_cost(finished_api):
    text = Reader(page(read(finished_api))).text
    assert "between baseline and teacher." in text
    assert "after 7,770 requests" in text
    assert "$3.18" in text
    assert "at most $0.0021" in text


def test_a_null_gap_is_told_with_its_reason(copy):
    result = copy.read_json("result.json")
    copy.write_json("result.json", {**result, "gap_closed": None, "gap_reason": "it includes <0>"})
    assert "No share of the gap can be given: it includes <0>." in Reader(render(copy).read_text()).text


@pytest.mark.parametrize("missing", ["result.json", "metrics.jsonl", "evaluation"])
def test_a_part_that_is_missing_is_left_out(copy, missing):
    path = copy.path / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = Reader(render(copy).read_text()).text
    assert "<html" not in text and "None" not in text
    assert ("This run has no result yet." in text) == (missing == "result.json")


def test_an_empty_run_directory_still_gives_a_page(tmp_path):
    assert "This run has no result yet." in Reader(render(RunDir(tmp_path)).read_text()).text


def test_numbers_that_are_none_are_dashes(copy):
    path = copy.path / "result.json"
    path.write_text(path.read_text().replace('"decode_1": 210.0', '"decode_1": NaN'))
    with open(copy.path / "metrics.jsonl", "a") as file:
        file.write('{"kind":"train","arm":"student","seed":0,"step":1000,"tokens":2,"loss":NaN}\n')
    assert "nan" not in Reader(render(copy).read_text()).text.lower().split()


def comparisons(**kinds):
    return [Comparison(prompt=None, answers={}, kind=k) for k, n in kinds.items() for _ in range(n)]


def test_ten_answers_are_chosen_to_inform():
    kinds = [c.kind for c in choose(comparisons(easy=500, won=300, lost=40, hard=5, beyond=2, other=3))]
    assert len(kinds) == 10
    assert {kind: kinds.count(kind) for kind in ("won", "lost", "beyond", "hard", "easy")}["lost"] >= 3
    assert kinds.count("easy") == 1
    assert [c.kind for c in choose(comparisons(easy=4))] == ["easy"] * 4
    assert choose([]) == []
