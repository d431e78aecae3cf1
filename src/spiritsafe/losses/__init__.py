"""Divergences between a teacher's and a student's next-token distributions."""

from spiritsafe.losses.divergence import LossResult, divergence

__all__ = ["LossResult", "divergence"]
