"""Sections of the recipe up to the training set: the task, who is asked and what for, what is kept."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the recipe. Unknown keys are errors; values are never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Verifier(Section):
    """How an answer is judged right or wrong."""

    kind: Literal["numeric", "exact", "math", "regex", "json_schema", "python", "label", "none"] = "numeric"
    """numeric: last number, GSM8K's #### first. math: math-verify. none: no ground truth."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """Absolute tolerance of `numeric`."""
    pattern: str | None = None
    """For `regex`: must match the answer; a group, if any, is compared with the reference."""
    json_schema: dict[str, Any] | None = None
    """For `json_schema`: JSON Schema that the answer, parsed as JSON, must satisfy."""
    labels: tuple[str, ...] = ()
    """For `label`: the set of allowed labels."""
    timeout_s: Annotated[float, Field(gt=0)] = 5.0
    """For `python`: wall time of one sandboxed run."""

    @model_validator(mode="after")
    def _complete(self) -> Verifier:
        needs = {"regex": self.pattern, "json_schema": self.json_schema, "label": self.labels}
        if self.kind in needs and not needs[self.kind]:
            key = {"regex": "pattern", "json_schema": "json_schema", "label": "labels"}[self.kind]
            raise ValueError(f"verifier {self.kind} needs the key {key}")
        return self


class Task(Section):
    """What the student is to learn to do."""

    kind: Literal["schoolbook", "tickets", "invoices", "incidents", "jsonl"] = "schoolbook"
    """schoolbook: word problems. tickets: messages to a shop, eight intents. invoices: texts to JSON.
    incidents: reports to be summarised. jsonl: prompts of your own."""
    path: str | None = None
    """jsonl: the file of training prompts."""
    test_path: str | None = None
    """jsonl: the file of evaluation prompts; without it a split is carved out of `path`."""
    train_prompts: Positive = 8000
    """At most so many prompts are put to the teacher."""
    validation_prompts: Positive = 200
    test_prompts: Positive = 1000
    unseen_prompts: Annotated[int, Field(ge=0)] = 0
    """schoolbook: problems of templates never trained on, reported apart."""
    stretch_prompts: Annotated[int, Field(ge=0)] = 0
    """schoolbook: problems above the levels of the standard test, reported apart."""
    system: str | None = None
    """System message put before every prompt."""
    verifier: Verifier = Verifier()
    expand_to: Annotated[int, Field(ge=0)] = 0
    """Grow the training prompts to this many by asking the teacher for similar ones; 0: no expansion."""

    @model_validator(mode="after")
    def _path(self) -> Task:
        if self.kind == "jsonl" and self.path is None:
            raise ValueError("task.kind jsonl needs task.path, the JSONL file of prompts")
        return self


class Price(Section):
    """What a model costs, in US dollars per million tokens."""

    input_per_million: Annotated[float, Field(ge=0)]
    output_per_million: Annotated[float, Field(ge=0)]
    batch_input_per_million: Annotated[float, Field(ge=0)] | None = None
    """What a batch costs; None: the provider's discount where it is known, else the live price."""
    batch_output_per_million: Annotated[float, Field(ge=0)] | None = None


class ModelAccess(Section):
    """Which model is asked, and how it is reached."""

    section: ClassVar[str]
    """Name of the recipe's section, for messages."""
    model: str
    """bundled:teacher, hf:REPO or a folder, openai:MODEL, http(s)://host/v1#MODEL."""
    is_model: str | None = Field(default=None, alias="is")
    """Identity of a served model apart from its wire name, such as Qwen/Qwen3-32B."""
    endpoint: Literal["chat", "completions"] = "chat"
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; the key itself is never written."""
    price: Price | None = None
    """Overrides the price table; a remote model without a known price needs it or budget.tokens."""
    deadline_s: Annotated[float, Field(gt=0)] = 120.0
    """Time limit of one attempt."""
    max_concurrency: Positive = 64
    """Requests in flight at most; the number adapts below it."""
    batch_size: Positive = 256
    """Local models: sequences decoded together."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)


class Teacher(ModelAccess):
    """Who answers the prompts."""

    section: ClassVar[str] = "teacher"
    model: str = "bundled:teacher"
    """bundled:teacher, hf:REPO or a folder, openai:MODEL, http(s)://host/v1#MODEL, anthropic:MODEL,
    batch-file:FOLDER#MODEL; none: nobody is asked; `store import` brings the answers."""
    launch: str | None = None
    """Command that serves teacher.model on this machine, such as `vllm serve A/B --port 8000`: started when
    the first request is to be sent, stopped before training. Its program may be another environment's."""
    launch_env: dict[str, str] = {}
    """Environment variables for that command, over those of this process; keys are exported, not written."""
    launch_timeout_s: Annotated[float, Field(gt=0)] = 900.0
    """How long it may take until it is healthy; downloading and loading a model included."""

    @property
    def is_asked(self) -> bool:
        """False where imported answers are all there is."""
        return self.model != "none"

    @model_validator(mode="after")
    def _no_secrets(self) -> Teacher:
        for name in self.launch_env:
            if re.search("KEY|TOKEN|SECRET|PASSWORD", name.upper()):
                raise ValueError(f"launch_env may not hold {name}: export it, and the command inherits it")
        return self


class Judge(ModelAccess):
    """Who judges answers where no verifier can. Without this section nothing is judged."""

    section: ClassVar[str] = "judge"
    mode: Literal["pairwise", "rubric"] = "pairwise"
    """How test answers are scored where task.verifier.kind is none: pairwise asks which of the student's
    and the teacher's answer is better, in both orders; rubric asks for a mark for each answer alone."""
    rubric: str | Annotated[tuple[str, ...], Field(min_length=1)] = (
        "Does the answer do what the task asks, completely?",
        "Is everything that it states right, or stated in the task?",
        "Is it clear and free of what nobody asked for?",
    )
    """What an answer is judged by: a text, or a list of criteria."""
    scale: Literal["1-5", "0-10"] = "1-5"
    """Marks of the rubric, from worst to best; scores are marks scaled to [0, 1]."""
    filter_below: Annotated[float, Field(ge=0, le=1)] | None = None
    """Select: drop training answers whose score by the rubric is below this; None judges none of them."""
    max_tokens: Positive = 512
    """Of one verdict, the judge's own reasoning included."""


class Budget(Section):
    """Hard limits over the whole run directory; None is no limit."""

    usd: Annotated[float, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    """Input plus output tokens of the teacher."""


class Collect(Section):
    """How answers are drawn from the teacher."""

    mode: Literal["live", "batch"] = "live"
    """batch: through the provider's batch API, for about half the price, within a day."""
    samples_per_prompt: Positive = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Positive = 512
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    max_attempts: Positive = 6
    """Attempts per request before it is settled as failed with its last reason."""
    summary_words: Positive = 150
    """Length of shortened reasoning (train.reasoning summary)."""


class Select(Section):
    """Which collected answers are trained on."""

    verify: bool = True
    """Drop answers that the task's verifier rejects."""
    keep: Literal["all", "shortest", "majority"] = "all"
    """Per prompt, after verification: all distinct answers, the shortest, or one of the majority answer."""
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Jaccard similarity of word shingles from which two prompts are one; 1 drops exact copies only."""
    contamination: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of a training prompt's word 8-grams found in one evaluation prompt from which it is dropped."""
    min_characters: Annotated[int, Field(ge=0)] = 1
    max_characters: Positive = 100_000
    max_reasoning_characters: Positive = 100_000
    """Longer traces are dropped."""
    drop_refusals: bool = True
    """Drop answers that begin by refusing."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes to keep, needs the extra `language`; empty keeps all."""
