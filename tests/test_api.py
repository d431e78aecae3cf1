"""The public Python surface, frozen: a change here is a change for users."""

import inspect

import spiritsafe
from spiritsafe.losses import LossResult, divergence


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_top_level_names():
    assert spiritsafe.__all__ == ["Ledger", "Recipe", "Store", "connect", "run"]
    assert all(getattr(spiritsafe, name) is not None for name in spiritsafe.__all__)


def test_signatures():
    assert parameters(spiritsafe.run) == ["recipe", "out", "until", "talk"]
    assert parameters(spiritsafe.connect) == ["ref", "settings"]
    assert parameters(divergence) == [
        "student_logits",
        "teacher_logits",
        "mask",
        "kind",
        "beta",
        "alpha",
        "temperature",
    ]
    assert {"sum", "tokens", "parts"} <= set(LossResult.__dataclass_fields__)


def test_sampler_protocol():
    from spiritsafe.teachers.sampler import Sampler, Scorer
    from spiritsafe.teachers.scripted import ScriptedSampler

    assert isinstance(ScriptedSampler({}), Sampler)
    assert parameters(Scorer.score) == ["self", "messages", "completion", "top"]
