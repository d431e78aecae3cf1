"""Sections of the recipe from the checkpoint on: the student, how it is trained, how it is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spiritsafe.recipe_data import Positive, Section

DivergenceKind = Literal[
    "forward_kl", "reverse_kl", "jsd", "skew_forward_kl", "skew_reverse_kl", "tvd", "adaptive_kl"
]
CPU_MICRO_BATCH = 1024
"""Padded tokens per forward pass on CPU. With the bundled base 512, 1024, 2048 and 4096 trained 12.3, 13.2,
11.2 and 9.6 thousand tokens per second of one core: larger passes leave the cache and pad more."""


class Shrink(Section):
    """A student made of some of a bigger model's layers (depth pruning)."""

    model: str = "bundled:teacher"
    """The model whose layers are taken."""
    layers: tuple[Annotated[int, Field(ge=0)], ...]
    """Indices of the layers kept, in order."""


class Student(Section):
    """The checkpoint that is trained."""

    kind: Literal["chat", "classifier", "extractor", "summariser"] = "chat"
    """chat: answers in text. classifier: sorts texts into task.verifier.labels. extractor: answers in JSON
    that satisfies task.verifier.json_schema, and is scored by its fields. summariser: answers in text that
    the judge scores, with cheap measures beside it."""
    model: str = "bundled:base"
    """bundled:base, hf:REPO or a folder."""
    chat_template: str | None = None
    """None is the checkpoint's own; `plain` is ours, for base checkpoints without one; else a Jinja file."""
    adapter: Literal["auto", "full", "lora", "dora", "qlora"] = "auto"
    """What is trained: all weights, or an adapter that is merged at the end. auto: LoRA from half a billion
    parameters on, where one device trains. qlora holds the frozen weights in 4 bits (needs bitsandbytes)."""
    lora_rank: Positive = 32
    lora_alpha: Positive | None = None
    """Scale of the adapter's update, divided by the rank; None is twice the rank."""


class DivergenceTerm(Section):
    """A dense divergence from a local teacher on the same tokens."""

    kind: DivergenceKind = "forward_kl"
    beta: Annotated[float, Field(ge=0, le=1)] = 0.5
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.1
    temperature: Annotated[float, Field(gt=0)] = 1.0
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Objective = (1 - weight) * cross-entropy + weight * temperature^2 * divergence, per token."""


class Train(Section):
    """How every arm is trained; the same for all arms so that they can be compared."""

    tokens: Positive = 1_500_000
    """Tokens passed through the student, prompts included: the same budget for every arm."""
    batch_tokens: Positive = 4096
    """Tokens per optimiser step (the last row may leave some unused)."""
    micro_batch_tokens: Positive | None = None
    """Padded tokens per forward pass; None is 1024 on a CPU, the whole batch elsewhere."""
    packing: bool = False
    """Rows of a forward pass end to end in one sequence, each attending to itself only. Pays with flash
    attention on a GPU; on a CPU grouping rows by length is faster. Refused where a model mixes rows."""
    max_length: Positive = 512
    """Longest sequence; longer samples are dropped and counted."""
    reasoning: Literal["keep", "drop", "summary"] = "keep"
    """What becomes of a teacher's reasoning: trained on before the answer, left out, or shortened by the
    teacher first. The student is asked in the same mode: its template keeps the choice."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time: activations are computed again in the backward pass."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    final_lr_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Cosine schedule ends at this share of the peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_steps: Positive = 100

    def pass_tokens(self, *, on_cpu: bool) -> int:
        """Padded tokens per forward pass, with the default of the device."""
        return self.micro_batch_tokens or (CPU_MICRO_BATCH if on_cpu else self.batch_tokens)


class Arm(Section):
    """One row of the result table: a student, what it is trained on, and how often."""

    data: Literal["teacher", "answers", "gold", "none"]
    """Selected teacher answers, bare reference answers, worked ground truth, or no training at all."""
    shrink: Shrink | None = None
    """Start from these teacher layers instead of student.model."""
    divergence: DivergenceTerm | None = None
    """Add the teacher's distribution on the training tokens; needs a local teacher with the same tokens."""
    eighths: tuple[Annotated[int, Field(ge=0, le=7)], Annotated[int, Field(ge=1, le=8)]] = (0, 8)
    """Train on this part of the data alone, first to last eighth of the prompts in an order that the seed
    decides, with the same part of `train.tokens`; `pilot` uses it."""
    seeds: Positive = 1
    """Independent trainings; the score is their mean."""

    @model_validator(mode="after")
    def _some_data(self) -> Arm:
        if self.eighths[0] >= self.eighths[1]:
            raise ValueError(f"eighths go from a lower to a higher number, got {self.eighths}")
        return self


class Evaluate(Section):
    """How models are measured."""

    max_tokens: Positive = 512
    batch_size: Positive = 256
    thinking_tokens: Positive | None = None
    """Thinking budget of local models: reasoning is closed after so many tokens, and the answer follows."""
    votes: Positive = 1
    """Answers drawn per test prompt, the commonest one counts (Wang et al. 2022); 1 is one greedy answer."""
    vote_temperature: Annotated[float, Field(gt=0, le=2)] = 0.7
    speed: bool = True
    """Measure prefill and decode tokens/s of local models."""
    speed_tokens: Positive = 64
    """Tokens decoded per speed measurement."""
    requests_per_day: Positive = 100_000
    """Assumed traffic, for the break-even estimate."""
    student_usd_per_hour: Annotated[float, Field(ge=0)] = 0.10
    """What the machine that serves the student is assumed to cost per hour."""
    local_teacher_usd_per_hour: Annotated[float, Field(ge=0)] = 0.10
    """The same for a local teacher, so that cost per request can be compared."""
