"""Heads: labels are saved, fresh ones are seeded, padding changes nothing, and refusals."""

import json
from pathlib import Path

import pytest
import torch
from tests.sorters import FAMILIES

from spiritsafe.errors import InputError, TeacherError
from spiritsafe.students.heads import Classifier, check_classifier, load_classifier, text_of
from spiritsafe.training.checkpoint import save_model

LABELS = ("one", "two", "three")
TEXTS = ["a", "some longer text of many tokens", "middling", ""]


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_do_not_depend_on_the_batch_and_survive_saving(tmp_path: Path, family: str) -> None:
    folder = FAMILIES[family](tmp_path / "checkpoint")
    model, tokenizer = load_classifier(str(folder), LABELS, seed=3)
    found = Classifier(model, tokenizer).probabilities(TEXTS)
    alone = torch.cat([Classifier(model, tokenizer).probabilities([text]) for text in TEXTS])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.sum(1), torch.ones(4), rtol=0, atol=1e-5)
    save_model(model, tokenizer, tmp_path / "saved")
    again, _ = load_classifier(str(tmp_path / "saved"), LABELS, seed=4)
    torch.testing.assert_close(Classifier(again, tokenizer).probabilities(TEXTS), found)
    assert json.loads((tmp_path / "saved/config.json").read_text())["label2id"] == {
        "one": 0,
        "two": 1,
        "three": 2,
    }


def head(folder: Path, labels: tuple[str, ...], seed: int) -> torch.Tensor:
    weight: torch.Tensor = load_classifier(str(folder), labels, seed=seed)[0].classifier.weight
    return weight.detach()


def test_a_head_of_other_labels_is_drawn_anew(tmp_path: Path) -> None:
    folder = FAMILIES["bert"](tmp_path / "checkpoint")
    save_model(*load_classifier(str(folder), LABELS, seed=1), tmp_path / "saved")
    kept = head(tmp_path / "saved", LABELS, 2)
    assert torch.equal(kept, head(tmp_path / "saved", LABELS, 3))
    for others in (("two", "one", "three"), ("x", "y", "z"), ("x", "y")):
        fresh = head(tmp_path / "saved", others, 2)
        assert fresh.shape[0] == len(others)
        assert torch.equal(fresh, head(tmp_path / "saved", others, 2))
        assert not torch.equal(fresh, head(tmp_path / "saved", others, 3))
        assert fresh.shape != kept.shape or not torch.equal(fresh, kept)


def test_a_text_beyond_the_context_is_cut(tmp_path: Path) -> None:
    classifier = Classifier(*load_classifier(str(FAMILIES["bert"](tmp_path)), LABELS))
    long = classifier.probabilities(["x" * 1000, "x" * 256])
    torch.testing.assert_close(long[0], long[1])


def test_a_checkpoint_that_cannot_classify_or_is_damaged_is_named(tmp_path: Path) -> None:
    folder = FAMILIES["bert"](tmp_path / "checkpoint")
    check_classifier(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(TeacherError, match="weights are missing for 16 parameters"):
        load_classifier(str(folder), LABELS)
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    with pytest.raises(InputError, match="no classification head for clip"):
        check_classifier(str(folder))


def test_the_system_message_is_not_read() -> None:
    messages = ({"role": "system", "content": "Sort."}, {"role": "user", "content": "a"})
    assert text_of(messages) == "a"
