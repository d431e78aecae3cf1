"""Trains what spiritsafe bundles for its schoolbook task: tokenizer, teacher and base student.

    python scripts/train_bundled.py tokenizer --out DIR --seed 0
    python scripts/train_bundled.py teacher   --out DIR --seed 0 --minutes 44
    python scripts/train_bundled.py base      --out DIR --seed 0 --minutes 15
    python scripts/train_bundled.py report-teacher --out DIR        (and report-base: results.jsonl)

DIR gets `tokenizer/`, `teacher/`, `base/`; each model folder has weights in Hugging Face layout,
`training_log.jsonl` and checkpoints that replace one another. The learning rate follows the clock,
so a run fits its minutes on any machine, and a slower machine sees fewer problems (the log counts).

The teacher learns worked solutions and arithmetic facts. The base student reads questions, facts
and bare answers, never a worked solution, so that all step-by-step skill of a student is distilled.
B batch, T time, V vocabulary, H hidden.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from pydoc_data.topics import topics

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from spiritsafe.tasks.schoolbook.generator import Problem, generate
from spiritsafe.tasks.schoolbook.template import SMALLEST, apply

VOCABULARY = 2048
SPECIALS = PAD, BOS, USER, ASSISTANT, END = "<|pad|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>"
# Single digits; a space before a digit stays with the word or sign before it (" * ", " pays "),
# which makes solutions a fifth shorter than the usual split.
PIECES = r"\p{N}| ?\p{L}+(?: (?=\p{N}))?| ?[^\s\p{L}\p{N}]+(?: (?=\p{N}))?|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{{- bos_token }}{%- set ns = namespace(system='') %}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{%- set ns.system = message['content'] + '\\n' %}"
    "{%- elif message['role'] == 'assistant' %}"
    "{{- '<|assistant|>' }}{% generation %}{{- message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- else %}{{- '<|user|>' + ns.system + message['content'] }}{%- set ns.system = '' %}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)
SHAPES = {
    "teacher": {
        "num_hidden_layers": 8,
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "base": {
        "num_hidden_layers": 3,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
CONTEXT = 512
PROBLEMS_PER_CHUNK = 10_000  # generated and tokenised at once
FACTS_PER_ROW = 9
NOTES_PER_PROBLEM = 3
QUOTED = 0.25  # share of lines in notes that quote the question
CONSTANTS = (2, 4, 7, 10, 12, 24, 60, 100)  # a week, a dozen, an hour
LARGEST_RESULT = 2500
TOKENS_PER_BATCH, WORKERS = 2048, 2  # tokens per worker
LEARNING_RATE, MUON_RATE = 3e-3, 0.02  # AdamW for embeddings and norms, Muon for matrices
AGAIN = 0.5  # share of the rates for weights that were trained before
WARMUP_STEPS, FLAT_UNTIL = 60, 0.4  # linear decay after this share of the minutes
EVALUATE_EVERY_S, VALIDATION = 300, 300
REPORTED = {"test": 2000, "unseen": 1000, "stretch": 500}


@dataclass(frozen=True, slots=True)
class Row:
    """One training row: token ids, and the positions that count in the loss (never position 0)."""

    ids: list[int]
    counted: list[int]


# --- tokenizer -------------------------------------------------------------------------------


def train_tokenizer(out: Path, seed: int) -> None:
    """Byte-level BPE with single digits, trained on train problems and facts only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    problems = generate("train", 60_000, seed)
    # The problems have too few words for 2,048 tokens; Python's own reference text fills the rest.
    english = (topics[name] for name in sorted(topics))
    ours = (f"{p.question}\n{p.solution}" for p in problems)
    tokenizer.train_from_iterator(chain(ours, english), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    if len(fast) != VOCABULARY:
        raise ValueError(f"the tokenizer has {len(fast)} tokens, not {VOCABULARY}; use more text")
    fast.save_pretrained(out)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # transformers 4 and servers know this one
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


# --- data ------------------------------------------------------------------------------------


def fact(rng: random.Random) -> str:
    """One line of arithmetic of the kinds that worked solutions use."""
    kind = rng.random()
    if kind < 0.35:
        a, b = rng.randint(2, 12), rng.randint(2, 99 if rng.random() < 0.75 else 250)
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        return f"{a} * {b} = {a * b}"
    if kind < 0.60:
        k, q = rng.randint(2, 9), rng.randint(2, 99 if rng.random() < 0.7 else 220)
        return f"{k * q} / {k} = {q}"
    digits = [rng.choice((99, 999, 999, 1400)) for _ in range(2)]
    a, b = (rng.randint(2, high) for high in digits)
    if kind < 0.78:
        return f"{a} + {b} = {a + b}"
    a, b = max(a, b) + 2, min(a, b)
    return f"{a} - {b} = {a - b}"


def texts(kind: str, problem: Problem, rng: random.Random) -> list[tuple[str, str]]:
    """(prompt, counted continuation) rows of one problem for the teacher or the base student."""
    prompt = f"{BOS}{USER}{problem.question}{ASSISTANT}"
    if kind == "teacher":
        return [(prompt, problem.solution + END)]
    return [("", f"{prompt}{problem.bare}{END}"), *(notes(problem, rng) for _ in range(NOTES_PER_PROBLEM))]


def notes(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """A question, then pieces of it around its numbers and facts about these numbers, drawn at random.

    They teach to find a number by the words beside it and to go on with a result, which worked solutions
    will need; operations and operands are drawn without regard to what is asked, so they solve nothing.
    """
    words = re.findall(r"[A-Za-z]+|\d+", problem.question)
    places = [at for at, word in enumerate(words) if word.isdigit()]
    lines, results = [], []
    for _ in range(rng.randint(3, 6)):
        if rng.random() < QUOTED:
            at = rng.choice(places)
            lines.append(" ".join(words[max(0, at - rng.randint(1, 2)) : at + rng.randint(1, 3)]))
        else:
            line, result = about(words, places, results, rng)
            lines.append(line)
            results.append(result)
    return f"{BOS}{USER}{problem.question}\n", ". ".join(lines) + END


def about(words: list[str], places: list[int], results: list[int], rng: random.Random) -> tuple[str, int]:
    """One equation with numbers of a text, earlier results or a common constant, between words that stand
    beside the numbers; and its result."""
    while True:
        first, second = two_places(len(places), rng)
        a, b = (operand(int(words[places[at]]), results, rng) for at in (first, second))
        if len(results) > 1 and rng.random() < 0.3:
            a, b = rng.sample(results[-3:], 2)
        sign = rng.choice("*/+-")
        result = apply(a, sign, b)
        if result is not None and SMALLEST <= result <= LARGEST_RESULT and learnable(a, sign, b):
            before, after = (beside(words, places[at], rng) for at in (first, second))
            return " ".join([*before, f"{a} {sign} {b} = {result}", *after]), result


def two_places(count: int, rng: random.Random) -> tuple[int, int]:
    """Which two of a text's numbers; those that stand together often belong together."""
    first = rng.randrange(count)
    if rng.random() < 0.4:
        return first, min(first + 1, count - 1)
    return first, rng.choice([at for at in range(count) if at != first] or [first])


def operand(number: int, results: list[int], rng: random.Random) -> int:
    """The number of the text, or at times an earlier result or a constant in its stead."""
    point = rng.random()
    if results and point < 0.35:
        return rng.choice(results[-2:])
    return rng.choice(CONSTANTS) if point > 0.97 else number


def beside(words: list[str], at: int, rng: random.Random) -> list[str]:
    """Up to two words before or after a number, or from anywhere in the text."""
    way = rng.random()
    if way < 0.4:
        near = words[at + 1 : at + 1 + rng.randint(1, 2)]
    elif way < 0.7:
        near = words[max(0, at - rng.randint(1, 2)) : at]
    else:
        start = rng.randrange(len(words))
        near = words[start : start + rng.randint(0, 3)]
    return [word for word in near if not word.isdigit()]


def learnable(a: int, sign: str, b: int) -> bool:
    """One factor or the divisor is small, as in the facts."""
    return sign in "+-" or (min(a, b) <= 12 if sign == "*" else b <= 12) or 100 in (a, b)


def row_of(head: list[int], tail: list[int]) -> Row:
    """A row in which the tail counts."""
    return Row(head + tail, list(range(max(len(head), 1), len(head) + len(tail))))


def fact_row(ids: list[int], equals: int, newline: int) -> Row:
    """Facts in which only results count, since operands are drawn and cannot be predicted."""
    counted, inside = [], False
    for position, token in enumerate(ids[1:], 1):
        if inside:
            counted.append(position)
        inside = token == equals or (inside and token != newline)
    return Row(ids, counted)


def make_chunk(kind: str, tokenizer, seed: int, number: int, fact_share: float) -> list[Row]:
    """Rows of one chunk of fresh problems and a share of fact rows, tokenised."""
    rng = random.Random(f"{seed}/{number}")
    pairs = [
        pair
        for problem in generate("train", PROBLEMS_PER_CHUNK, seed * 10_000 + number)
        for pair in texts(kind, problem, rng)
    ]
    heads = tokenizer([head for head, _ in pairs], add_special_tokens=False)["input_ids"]
    tails = tokenizer([tail for _, tail in pairs], add_special_tokens=False)["input_ids"]
    lines = [
        BOS + "\n".join(fact(rng) for _ in range(FACTS_PER_ROW)) + END
        for _ in range(int(fact_share * len(pairs)))
    ]
    facts = tokenizer(lines, add_special_tokens=False)["input_ids"] if lines else []
    signs = tokenizer.convert_tokens_to_ids(["\u0120=\u0120", "\u010a"])  # " = " and newline as bytes
    return [*map(row_of, heads, tails), *(fact_row(ids, *signs) for ids in facts)]


def batches(rows: list[Row], tokens: int, rng: random.Random) -> tuple[list[list[Row]], list[Row]]:
    """Shuffled batches of rows of one padded width and about `tokens` tokens; and what is left over.

    Few distinct shapes matter: oneDNN keeps a prepared product for every shape that it meets.
    """
    rng.shuffle(rows)
    by_width: dict[int, list[Row]] = {}
    for row in rows:
        by_width.setdefault(padded(len(row.ids) - 1, 4), []).append(row)
    groups, left = [], []
    for width, same in sorted(by_width.items()):
        size = tokens // width // WORKERS * WORKERS
        full = len(same) - len(same) % size
        groups += [same[cut : cut + size] for cut in range(0, full, size)]
        left += same[full:]
    rng.shuffle(groups)
    return groups, left


def padded(length: int, multiple: int) -> int:
    """`length` rounded up."""
    return -(-length // multiple) * multiple


def tensors(rows: list[Row], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs (B, T) right-padded, flat positions that count, and their targets (-100: filler)."""
    width = padded(max(len(row.ids) for row in rows) - 1, 4)
    inputs = torch.full((len(rows), width), pad)
    where, targets = [], []
    for index, row in enumerate(rows):
        inputs[index, : len(row.ids) - 1] = torch.tensor(row.ids[:-1])
        where.extend(index * width + position - 1 for position in row.counted)
        targets.extend(row.ids[position] for position in row.counted)
    filler = padded(len(where), 256) - len(where)
    return inputs, torch.tensor(where + [0] * filler), torch.tensor(targets + [-100] * filler)


# --- training --------------------------------------------------------------------------------


def new_model(kind: str, tokenizer, seed: int) -> LlamaForCausalLM:
    """A plain Llama with tied embeddings and random weights."""
    torch.manual_seed(seed)
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            attention_bias=False,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            attn_implementation="sdpa",
            **SHAPES[kind],
            **ids,
        )
    )
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=128, **ids)
    return model


class Muon:
    """Momentum orthogonalised by Newton-Schulz (Jordan et al. 2024), all matrices of a shape at once.

    torch.optim.Muon goes matrix by matrix, which for 56 small ones costs more than the model.
    """

    def __init__(self, matrices: list[torch.Tensor]) -> None:
        self.groups: dict[tuple[int, int], list[torch.Tensor]] = {}
        for matrix in matrices:
            self.groups.setdefault((min(matrix.shape), max(matrix.shape)), []).append(matrix)
        self.momentum = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update; tall matrices are turned, since Newton-Schulz is cheaper on wide ones."""
        for shape, group in self.groups.items():
            gradient = torch.stack([m.grad if tuple(m.shape) == shape else m.grad.T for m in group])
            momentum = self.momentum[shape].lerp_(gradient, 1 - 0.95)
            update = orthogonal(gradient.lerp(momentum, 0.95))
            for matrix, change in zip(group, update, strict=True):
                change = change if tuple(matrix.shape) == shape else change.T
                matrix.add_(change, alpha=-learning_rate * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5)


def orthogonal(x: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrices to x (batch, rows <= columns), to about 0.3."""
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).bfloat16()
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.float()


class Stepper:
    """Muon for the matrices inside, AdamW for embeddings and norms, over all workers' gradients."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        inside = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
        known = {id(p) for p in inside}
        self.parameters = list(model.parameters())
        self.muon = Muon(inside)
        self.adam = torch.optim.AdamW(
            [p for p in self.parameters if id(p) not in known],
            betas=(0.9, 0.95),
            weight_decay=0.0,
            fused=True,
        )
        self.shared = torch.zeros(sum(p.numel() for p in self.parameters) + 3)
        cut = 0
        for p in self.parameters:  # gradients live in one buffer, so that one call sums them all
            p.grad = self.shared[cut : cut + p.numel()].view_as(p)
            cut += p.numel()

    def step(self, loss: float, tokens: int, done: float, warmup: float) -> tuple[float, float]:
        """Sum gradients, loss and tokens over workers and update; (mean loss, share of time over)."""
        self.shared[-3:] = torch.tensor([loss, tokens, done])
        torch.distributed.all_reduce(self.shared)
        total, count, done = self.shared[-3:].tolist()
        self.shared[:-3] /= count
        norm = self.shared[:-3].norm().item()
        self.shared[:-3] *= min(1.0, 1.0 / (norm + 1e-6))
        scale = warmup * rate(done)
        self.muon.step(MUON_RATE * scale)
        self.adam.param_groups[0]["lr"] = LEARNING_RATE * scale
        self.adam.step()
        self.shared.zero_()
        return total / count, done


class Bfloat16Product(torch.autograd.Function):
    """x w^T with bfloat16 operands. On CPUs with avx512_bf16 three times as fast as float32;
    torch.autocast is not, since it also turns norms, rotary and attention to bfloat16."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        x, w = x.bfloat16(), w.bfloat16()
        ctx.save_for_backward(x, w)
        return (x @ w.T).float()

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        x, w = ctx.saved_tensors
        gradient = gradient.bfloat16()
        return (gradient @ w).float(), (gradient.flatten(0, -2).T @ x.flatten(0, -2)).float()


def use_bfloat16_products(model: LlamaForCausalLM) -> None:
    """Let every linear layer multiply in bfloat16 while it trains; weights stay float32."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.forward = lambda x, layer=layer: (
                Bfloat16Product.apply(x, layer.weight)
                if layer.training
                else torch.nn.functional.linear(x, layer.weight)
            )


def counted_loss(model: LlamaForCausalLM, batch) -> torch.Tensor:
    """Summed cross-entropy (nats) of counted tokens; the head runs on those positions only."""
    inputs, where, targets = batch
    hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
    return torch.nn.functional.cross_entropy(
        model.lm_head(hidden.flatten(0, 1)[where]), targets, reduction="sum"
    )


def rate(done: float) -> float:
    """Share of the peak learning rate after a share `done` of the minutes: flat, then linear to 0."""
    return 1.0 if done < FLAT_UNTIL else max(0.02, (1.0 - done) / (1.0 - FLAT_UNTIL))


def facts_share(kind: str, done: float) -> float:
    """Fact rows per problem row; a base student without notes needed twice as many."""
    return (0.5 if done < 0.15 else 0.2) if kind == "teacher" else 0.3


def train(worker: int, kind: str, out: Path, seed: int, minutes: float, start: Path | None) -> None:
    """Gather, score, step, log, save until the minutes are over. Worker 0 keeps the clock."""
    join(worker, out)
    tokenizer = AutoTokenizer.from_pretrained(out / "tokenizer")
    model = new_model(kind, tokenizer, seed)
    if start is not None:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(start, dtype=torch.float32).state_dict())
    use_bfloat16_products(model)
    stepper, log = Stepper(model), Log(out / kind, minutes, worker == 0)
    rng, left, losses = random.Random(seed), [], []
    number, tokens, rows_seen, step, done = 0, 0, 0, 0, 0.0
    while done < 1:
        rows = left + make_chunk(kind, tokenizer, seed, number, facts_share(kind, done))
        groups, left = batches(rows, TOKENS_PER_BATCH * WORKERS, rng)
        for group in groups:
            batch = tensors(group[worker::WORKERS], tokenizer.pad_token_id)
            loss = counted_loss(model, batch)
            loss.backward()
            mean, done = stepper.step(
                loss.item(),
                int((batch[2] >= 0).sum()),
                log.done() * (worker == 0),
                min(1.0, (step + 1) / WARMUP_STEPS) * (1.0 if start is None else AGAIN),
            )
            losses.append(mean)
            step, rows_seen = step + 1, rows_seen + len(group)
            tokens += sum(len(row.ids) for row in group)
            if step % 25 == 0:
                log.write(step=step, rows=rows_seen, tokens=tokens, loss=sum(losses) / len(losses))
                losses.clear()
            if worker == 0 and (log.due() or done >= 1):
                save(model, out / kind)
                model.eval()
                log.write(step=step, **evaluate(model, tokenizer, "validation", VALIDATION, seed))
                model.train()
            if done >= 1:
                break
        number += 1


def join(worker: int, out: Path) -> None:
    """One thread per worker: on two cores two processes beat two threads by far."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", rank=worker, world_size=WORKERS, init_method=f"file://{(out / 'meeting').resolve()}"
    )


class Log:
    """The clock of a run and its `training_log.jsonl`."""

    def __init__(self, folder: Path, minutes: float, active: bool) -> None:
        self.path, self.limit, self.active = folder / "training_log.jsonl", minutes * 60, active
        if active:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.write_text("")
        self.start = self.last = time.monotonic()

    def done(self) -> float:
        """Share of the minutes that is over."""
        return (time.monotonic() - self.start) / self.limit

    def due(self) -> bool:
        """True once every EVALUATE_EVERY_S seconds."""
        now = time.monotonic()
        due = now - self.last > EVALUATE_EVERY_S
        self.last = now if due else self.last
        return due

    def write(self, **values) -> None:
        """One line, rounded, with the seconds since the start; only worker 0 writes."""
        if not self.active:
            return
        line = {"seconds": round(time.monotonic() - self.start, 1)}
        line |= {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write to a neighbour first and move file by file, so that a reader never sees half a file."""
    part = folder.with_name(folder.name + ".part")
    model.save_pretrained(part)
    shutil.copytree(folder.parent / "tokenizer", part, dirs_exist_ok=True)
    for path in part.iterdir():
        path.chmod(0o644)
        os.replace(path, folder / path.name)
    shutil.rmtree(part)


# --- evaluation ------------------------------------------------------------------------------


@torch.inference_mode()
def solve_greedily(model: LlamaForCausalLM, tokenizer, questions: list[str], batch: int = 128) -> list[str]:
    """Greedy answers to questions, batched by length."""
    order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
    answers = [""] * len(questions)
    for cut in range(0, len(order), batch):
        part = order[cut : cut + batch]
        turns = [[{"role": "user", "content": questions[i]}] for i in part]
        inputs = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=110)[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(part, tokenizer.batch_decode(output, skip_special_tokens=True), strict=True):
            answers[i] = text
    return answers


def evaluate(model: LlamaForCausalLM, tokenizer, split: str, n: int, seed: int) -> dict:
    """Share of right final answers, overall and by level, with n and seconds."""
    problems, began = generate(split, n, seed), time.monotonic()
    answers = solve_greedily(model, tokenizer, [p.question for p in problems])
    right: dict[int, list[bool]] = {}
    for problem, answer in zip(problems, answers, strict=True):
        right.setdefault(problem.level, []).append(answer.rpartition("####")[2].strip() == problem.answer)
    result = {"split": split, "n": n, "accuracy": sum(map(sum, right.values())) / n}
    result |= {f"level_{k}": f"{sum(v)}/{len(v)}" for k, v in sorted(right.items())}
    return result | {"problems_per_second": n / (time.monotonic() - began)}


def report(kind: str, out: Path, seed: int) -> None:
    """Measure a finished model on all reported splits; one JSON line each."""
    tokenizer = AutoTokenizer.from_pretrained(out / kind)
    model = LlamaForCausalLM.from_pretrained(out / kind, dtype=torch.float32).eval()
    with (out / kind / "results.jsonl").open("w") as file:
        for split, n in REPORTED.items():
            line = evaluate(model, tokenizer, split, n, seed + 1)
            print(json.dumps(line), flush=True)
            file.write(json.dumps(line) + "\n")


def main() -> None:
    """Parse the command line and run one job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("tokenizer", "teacher", "base", "report-teacher", "report-base"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=55.0)
    parser.add_argument("--start", type=Path, help="go on from the weights in this folder")
    options = parser.parse_args()
    if options.job == "tokenizer":
        train_tokenizer(options.out / "tokenizer", options.seed)
    elif options.job.startswith("report-"):
        report(options.job.removeprefix("report-"), options.out, options.seed)
    else:
        (options.out / "meeting").unlink(missing_ok=True)
        torch.multiprocessing.spawn(
            train, (options.job, options.out, options.seed, options.minutes, options.start), nprocs=WORKERS
        )


if __name__ == "__main__":
    main()
