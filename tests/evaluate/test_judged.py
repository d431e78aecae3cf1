"""Which answers need a judge, and what becomes of problems without a verdict."""

from spiritsafe.collect.judge import Preference
from spiritsafe.evaluate import judged
from spiritsafe.evaluate.grade import Graded
from spiritsafe.records import Prompt


def row(number, text):
    return Graded(prompt_id=f"p{number}", slice="test", correct=False, text=text, reason="unverified")


ROWS = {
    "teacher": [row(0, "good"), row(1, "good"), row(2, "good"), row(3, ""), row(4, "good")],
    "student-0": [row(0, "fair"), row(1, "good "), row(2, " "), row(3, "fair"), row(4, "fair")],
    "baseline-0": [row(0, "bad"), row(1, "bad"), row(2, "bad"), row(3, "bad"), row(4, "bad")],
}
PROMPTS = {
    f"p{i}": Prompt(prompt_id=f"p{i}", messages=({"role": "user", "content": f"task {i}"},), solution="fair")
    for i in range(5)
}


def at(label, number):
    return label, "test", f"p{number}"


def test_only_what_can_differ_is_compared():
    docket = judged.pairwise_docket(ROWS)
    assert docket.asked == [
        *(at("student-0", i) for i in (0, 4)),
        *(at("baseline-0", i) for i in (0, 1, 2, 4)),
    ]
    assert docket.known == {
        **{at("teacher", i): 0.5 for i in (0, 1, 2, 4)},
        at("student-0", 1): 0.5,
        at("student-0", 2): 0.0,
    }
    pair = judged.pairs(docket.asked, ROWS, PROMPTS)[1]
    assert (pair.prompt.prompt_id, pair.answer, pair.rival) == ("p4", "fair", "good")


def test_an_empty_answer_has_the_lowest_mark_without_a_question():
    docket = judged.rubric_docket(ROWS)
    assert docket.known == {at("teacher", 3): 0.0, at("student-0", 2): 0.0}
    assert len(docket.asked) == 13


def test_what_lacks_a_verdict_is_left_out_for_all():
    docket = judged.pairwise_docket(ROWS)
    scores = {**docket.known, **dict.fromkeys(docket.asked, 1.0), at("baseline-0", 4): None}
    found = judged.scored(ROWS, scores)
    reasons = [None, None, None, "unverified", "judge_unparsed"]
    assert [r.reason for r in found["teacher"]] == reasons
    assert [r.reason for r in found["student-0"]] == [None, None, "no_answer", *reasons[3:]]
    assert [r.score for r in found["student-0"]] == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert [r.correct for r in found["student-0"]] == [True, True, False, False, False]
    assert judged.left_out(found) == {"judge_unparsed": 1, "unverified": 1}


def test_agreement_with_itself_rests_on_whole_pairs():
    both = [Preference(score=1.0, consistent=True), Preference(score=0.5, consistent=False)]
    found = judged.consistency([*both, Preference(score=None, consistent=None)])
    assert (found.value, found.n) == (0.5, 2)
    assert judged.consistency([]) is None
    marks = judged.repeatability([1.0, 0.5, None, 0.0], [1.0, 0.25, 0.5])
    assert (marks["self_agreement"]["value"], marks["mean_difference"]) == (0.5, 0.125)


def test_references_say_which_answer_is_better():
    docket = judged.pairwise_docket(ROWS)
    found = judged.scored(ROWS, {**docket.known, **dict.fromkeys(docket.asked, 1.0)})
    agreed = judged.reference_agreement(found, PROMPTS, "student-0", seed=0)
    assert (agreed.value, agreed.n) == (1.0, 2)  # p1 and p2 are as near or as far as the teacher's
    lost = judged.scored(ROWS, {**docket.known, **dict.fromkeys(docket.asked, 0.0)})
    assert judged.reference_agreement(lost, PROMPTS, "student-0", seed=0).value == 0.0


def test_length_is_told_by_arm():
    docket = judged.pairwise_docket(ROWS)
    found = judged.scored(ROWS, {**docket.known, **dict.fromkeys(docket.asked, 0.5)})
    names = {"teacher": ["teacher"], "student": ["student-0"], "baseline": ["baseline-0"]}
    figures = judged.length_figures(found, names, seed=0)
    assert list(figures) == ["student", "baseline"]
    assert figures["baseline"] == {"length_ratio": 0.75, "length_controlled": None}  # all are shorter
    assert figures["student"]["length_controlled"]["n"] == 4


def test_measures_of_summaries_are_means_over_the_test():
    names = {"teacher": ["teacher"], "student": ["student-0"]}
    found = judged.summary_measures(ROWS, names, PROMPTS, seed=0)
    assert found["teacher"]["rouge_l_teacher"]["value"] == 0.8  # one answer is not there
    assert found["student"]["rouge_l_teacher"]["value"] == 0.2
    assert found["student"]["length_ratio"]["value"] == (4 * 4 + 0) / 5 / 6
    assert found["student"]["covered"] is None
