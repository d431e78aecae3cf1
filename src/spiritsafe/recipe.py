"""The recipe: everything a run does, section by section. `recipe_file` reads it.

Each section is the input of particular stages; a stage is redone when its sections changed (see
pipeline/run.py), so a key lives where its consequence lives.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
DivergenceKind = Literal[
    "forward_kl", "reverse_kl", "jsd", "skew_forward_kl", "skew_reverse_kl", "tvd", "adaptive_kl"
]


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


CPU_MICRO_BATCH = 1024
"""Padded tokens per forward pass on CPU. With the bundled base 512, 1024, 2048 and 4096 trained 12.3, 13.2,
11.2 and 9.6 thousand tokens per second of one core: larger passes leave the cache and pad more."""


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


DEFAULT_ARMS = {
    "student": Arm(data="teacher"),
    "baseline": Arm(data="answers"),
    "untrained": Arm(data="none"),
}


class Recipe(Section):
    """A complete run."""

    name: str = "schoolbook"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    task: Task = Task()
    teacher: Teacher = Teacher()
    budget: Budget = Budget()
    collect: Collect = Collect()
    select: Select = Select()
    student: Student = Student()
    train: Train = Train()
    arms: dict[str, Arm] = DEFAULT_ARMS
    """Rows of the table. `student`, `baseline` and `untrained` always exist; more may be added."""
    evaluate: Evaluate = Evaluate()
    judge: Judge | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_arms(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("arms"), dict):
            return {**value, "arms": {**DEFAULT_ARMS, **value["arms"]}}
        return value

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        if "teacher" in self.arms:
            raise ValueError("an arm cannot be named teacher")
        if self.teacher.launch is not None and self.collect.mode == "batch":
            raise ValueError(
                "collect.mode batch asks a provider, teacher.launch serves live: use one of them"
            )
        return self

    @model_validator(mode="after")
    def _nobody_to_ask(self) -> Recipe:
        divergent = [f"arms.{name}.divergence" for name, arm in self.arms.items() if arm.divergence]
        asking = [*divergent, *(["task.expand_to"] if self.task.expand_to else [])]
        if asking and not self.teacher.is_asked:
            raise ValueError(f"teacher.model is none, and {asking[0]} needs a teacher")
        return self

    @model_validator(mode="after")
    def _kind_of_student(self) -> Recipe:
        kind, verifier = self.student.kind, self.task.verifier
        wanted = {"classifier": "label", "extractor": "json_schema", "summariser": "none"}.get(
            kind, verifier.kind
        )
        if verifier.kind != wanted:
            key = {"label": " with labels", "json_schema": " with json_schema"}.get(wanted, "")
            raise ValueError(
                f"student.kind {kind} needs task.verifier.kind {wanted}{key}, got {verifier.kind}"
            )
        if kind == "summariser" and self.judge is None:
            raise ValueError("student.kind summariser needs a section judge: nothing else scores summaries")
        if kind == "classifier":
            self._check_classifier()
        return self

    def _check_classifier(self) -> None:
        labels = self.task.verifier.labels
        if len({" ".join(label.casefold().split()) for label in labels}) < max(2, len(labels)):
            raise ValueError("a classifier needs at least two labels, all different but for case and spaces")
        refused = {
            "arms with divergence or shrink": any(a.divergence or a.shrink for a in self.arms.values()),
            "train.packing": self.train.packing,
            "train.reasoning summary": self.train.reasoning == "summary",
            "select.keep shortest": self.select.keep == "shortest",
            f"student.adapter {self.student.adapter}": self.student.adapter not in ("auto", "full"),
        }
        for name, given in refused.items():
            if given:
                raise ValueError(f"student.kind classifier has no {name}")

    @model_validator(mode="after")
    def _judge_has_work(self) -> Recipe:
        idle = self.judge is not None and self.judge.filter_below is None
        if idle and self.task.verifier.kind != "none":
            raise ValueError(
                f"judge has nothing to do: test answers are judged by the verifier "
                f"{self.task.verifier.kind}; set judge.filter_below, or task.verifier.kind to none"
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """The resolved recipe, every default written out, with the keys a user writes."""
        return self.model_dump(mode="json", by_alias=True)


def schema() -> dict[str, Any]:
    """JSON Schema of the recipe, for editors."""
    return Recipe.model_json_schema(by_alias=True)
