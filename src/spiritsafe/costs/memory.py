"""Memory, before anything is loaded: weights, caches, and one training step. Pure arithmetic, in bytes.

The terms of a step are those of this product's own loop (training/step.py): AdamW on float32 weights, on
CUDA under bfloat16 autocast, logits at the tokens that count alone. What a layer keeps for its backward pass
is counted tensor by tensor (`_kept`), for attention that does not write its T x T scores down; Gemma 2 does.
tests/costs/test_memory.py holds them against what torch allocates, benchmarks/memory.py on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from spiritsafe.costs.shapes import GEMMA, Shape
from spiritsafe.records import Record

Adapter = Literal["full", "lora", "dora", "qlora"]

LARGE = 500_000_000
"""Parameters from which student.adapter auto trains an adapter: gradients and optimiser states of all weights
would take 12 bytes each, 6 GB from here on, beside 2 GB of weights."""
SLACK = 1.25
"""The cache of our decoder is grown by a quarter when it is full."""
GREEDY = 10
"""Bytes per logit of the last token while the next one is chosen: this step's, and the last one's."""
DRAWN = 30
"""The same for drawing: probabilities, sorted, with their places, and summed up."""
LOGITS = 12
"""Bytes per logit at the peak, at the start of the backward pass: log-probabilities, the gradient of the
loss with respect to them, and with respect to the logits, in float32."""
DIVERGENCE = {
    "forward_kl": 16,
    "reverse_kl": 16,
    "tvd": 16,
    "skew_forward_kl": 28,
    "skew_reverse_kl": 28,
    "jsd": 32,
    "adaptive_kl": 37,
}
"""Bytes per logit that a dense divergence adds under autocast; in float32 4 more (measured, see the test)."""
FOUR_BITS = 0.5 + 0.127 / 8
"""Bytes per weight of 4-bit NormalFloat with double quantisation (Dettmers et al. 2023, section 3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step(Record):
    """What a training step holds at its peak, by part; bytes."""

    weights: int
    copies: int
    """Weights cast to bfloat16, which autocast keeps until the backward pass has used them."""
    gradients: int
    optimiser: int
    activations: int
    logits: int
    teacher: int

    @property
    def total(self) -> int:
        return (
            self.weights
            + self.copies
            + self.gradients
            + self.optimiser
            + self.activations
            + self.logits
            + self.teacher
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Training(Record):
    """How a student is trained, as far as memory is concerned."""

    tokens: int
    """Padded tokens of one forward pass."""
    loss_tokens: int
    """Of these, tokens that count in the loss."""
    length: int
    """Tokens of a row: only Gemma 2, whose attention is quadratic here, depends on it."""
    half: bool
    """bfloat16 autocast, as on CUDA."""
    adapter: Adapter = "full"
    rank: int = 32
    checkpointing: bool = False
    divergence: str | None = None


def weight_bytes(shape: Shape, element: float, quantization: Mapping[str, Any] | None = None) -> int:
    """Bytes of the weights at `element` bytes each; `quantization` is the config's quantization_config."""
    packed = element if quantization is None else quantized_element(quantization)
    rest = shape.parameters - shape.matrices
    return round(shape.matrices * packed + rest * (element if quantization is None else 2))


def quantized_element(quantization: Mapping[str, Any]) -> float:
    """Bytes per weight of a quantised linear map, scales and zero points included; 1 where it is not said."""
    if quantization.get("load_in_4bit"):
        return FOUR_BITS
    bits = float(quantization.get("bits") or quantization.get("w_bit") or 8)
    group = float(quantization.get("group_size") or 0)
    return bits / 8 + ((2 + bits / 8) / group if group > 0 else 0)


def kv_bytes(shape: Shape, batch: int, context: int, element: int) -> int:
    """Keys and values of `batch` sequences of `context` tokens; sliding layers keep their window."""
    held = (shape.layers - shape.sliding) * context
    held += shape.sliding * min(context, shape.window or context)
    return 2 * shape.keys * element * batch * held


def serving_bytes(
    shape: Shape, weights: int, batch: int, *, prompt: int, answer: int, element: int, drawn: bool = False
) -> int:
    """Peak of our decoder: weights, cache, and either reading all prompts at once or choosing a token.

    `prompt` and `answer` are tokens of each of `batch` sequences; `drawn` is sampling rather than the best.
    """
    # The widest moment of a layer: activation, up and their product; or queries, keys and values repeated for
    # every head, and what comes out. The mask takes a byte for each pair of tokens.
    mlp = 3 * shape.intermediate + 4 * shape.hidden
    attention = 4 * shape.queries + shape.keys + 2 * shape.hidden
    reading = batch * prompt * (element * max(mlp, attention) + prompt) + round(
        SLACK * kv_bytes(shape, batch, prompt, element)
    )
    choosing = (DRAWN if drawn else GREEDY) * batch * shape.vocabulary
    choosing += round(SLACK * kv_bytes(shape, batch, prompt + answer, element))
    return weights + max(reading, choosing)


def training_step(shape: Shape, how: Training, teacher: Shape | None = None) -> Step:
    """The peak of a step of several forward passes, so that gradients are held throughout.

    `teacher` is a local one, beside the student for a dense divergence.
    """
    full = how.adapter == "full"
    trained = shape.parameters if full else shape.adapter_parameters(how.rank)
    element = 4 if full or not how.half else 2  # frozen weights are bfloat16 on CUDA
    weights = weight_bytes(shape, element)
    if how.adapter == "qlora":
        weights = weight_bytes(shape, 2, {"load_in_4bit": True})
    return Step(
        weights=weights + (0 if full else 4 * trained),
        copies=2 * _cast(shape, how, trained),
        gradients=4 * trained,
        optimiser=8 * trained,
        activations=activation_bytes(shape, how),
        logits=_logit_bytes(shape, how),
        teacher=0 if teacher is None else _teacher_bytes(teacher, how),
    )


def _cast(shape: Shape, how: Training, trained: int) -> int:
    """Weights of which autocast holds a bfloat16 copy: trained ones, with checkpointing of one layer."""
    if not how.half:
        return 0
    if how.adapter != "full":
        return trained
    layers = shape.layer_matrices if how.checkpointing else shape.matrices
    return layers + shape.vocabulary * shape.hidden


def activation_bytes(shape: Shape, how: Training) -> int:
    """What is kept between forward and backward pass; with checkpointing the layers' inputs and one layer."""
    residual = 2 if how.half and how.adapter != "full" else 4
    ends = (2 * residual + 4) * shape.hidden  # embeddings, the last norm's input and output
    layer = _kept(shape, how)
    if how.checkpointing:
        # The layer that is computed again never meets the logits: they are gone by then.
        again = layer + 4 * (shape.intermediate + shape.hidden)
        spare = max(0, again * how.tokens - _logit_bytes(shape, how))
        return how.tokens * (shape.layers * residual * shape.hidden + ends) + spare
    return how.tokens * (shape.layers * layer + ends)


def _kept(shape: Shape, how: Training) -> int:
    """Bytes per token that one layer keeps for its backward pass."""
    full, element = how.adapter == "full", 2 if how.half else 4
    # A norm keeps its input in float32 and, where its weight is trained, the normalised input.
    norms = shape.norms * shape.hidden * (8 if full else 4)
    # In float32 linear maps share their input; autocast gives each of five its own cast copy.
    inputs = shape.hidden * (5 * 2 if how.half else 2 * 4)
    heads = _kept_by_attention(shape, how, element)
    mlp = 4 * shape.intermediate * element  # gate, its activation, up, their product
    # Adapters see the output of attention in a copy of their own, and keep what they shrink it to.
    adapter = 0 if full else 7 * how.rank * element + (2 * shape.queries if how.half else 0)
    return norms + inputs + heads + mlp + adapter


def _kept_by_attention(shape: Shape, how: Training, element: int) -> int:
    if shape.family == "gemma2":  # capped scores are written down, keys and values repeated for every head
        return 4 * shape.queries * element + 8 * shape.heads * how.length
    kept = 2 * (shape.queries + shape.keys) * element + 4 * shape.heads
    if shape.norms_heads:
        normalised = (4 if shape.family in GEMMA or not how.half else 2) if how.adapter == "full" else 0
        kept += (shape.queries + shape.keys) * (4 + normalised)
    return kept


def _logit_bytes(shape: Shape, how: Training) -> int:
    """The [tokens x vocabulary] term, or the output layer's gradient where that is larger."""
    per_logit = LOGITS
    if how.divergence is not None:
        per_logit += DIVERGENCE[how.divergence] + (0 if how.half else 4)
    element = 2 if how.half else 4
    if shape.family == "gemma2":
        per_logit += element  # they are capped
    head = shape.vocabulary * shape.hidden * (4 + 2 * how.half) if how.adapter == "full" else 0
    logits = shape.vocabulary * how.loss_tokens
    return max(per_logit * logits, element * logits + head)


def _teacher_bytes(teacher: Shape, how: Training) -> int:
    """Its weights, and what one layer of its forward pass holds."""
    element = 2 if how.half else 4
    layer = how.tokens * element * (3 * teacher.intermediate + 3 * teacher.hidden)
    return weight_bytes(teacher, element) + max(0, layer - _logit_bytes(teacher, how))


def with_tokens(how: Training, tokens: int) -> Training:
    """The same training with forward passes of another size, the share of counting tokens unchanged."""
    return replace(how, tokens=tokens, loss_tokens=max(1, round(how.loss_tokens * tokens / how.tokens)))
