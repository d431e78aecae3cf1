"""Local decoding: what is generated depends on the request alone; damaged folders are named."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import torch
from tests.families import save_family
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from transformers import GenerationConfig

from spiritsafe.errors import TeacherError
from spiritsafe.records import Failure, Reply, Request, Sampling, TeacherId
from spiritsafe.teachers.decode import draw
from spiritsafe.teachers.local import LocalModel
from spiritsafe.teachers.local_sampler import LocalSampler
from spiritsafe.teachers.sampler import Sampler, Scorer


@pytest.fixture(scope="module")
def local() -> LocalModel:
    return LocalModel(tiny_model(), tiny_tokenizer())


def request(text: str, **sampling: object) -> Request:
    values = {"max_tokens": 12, **sampling}
    return Request(
        prompt_id=text,
        messages=({"role": "user", "content": text},),
        teacher="tiny",
        sampling=Sampling(**values),  # type: ignore[arg-type]
    )


TEXTS = ["a", "what is 2 + 3?", "a much longer question, so that the rows are padded", "b", "seven", "x y z"]


def test_greedy_is_what_the_model_says_without_cache(local: LocalModel) -> None:
    reply = local.generate([request("what is 2 + 3?")])[0]
    text = local.tokenizer.apply_chat_template(
        [{"role": "user", "content": "what is 2 + 3?"}], tokenize=False, add_generation_prompt=True
    )
    ids = local.tokenizer(text)["input_ids"]
    start = len(ids)
    with torch.no_grad():
        for _ in range(12):
            ids.append(int(local.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == 1:
                break
    assert reply.text == local.tokenizer.decode(ids[start:], skip_special_tokens=True)
    assert reply.usage.input_tokens == start
    assert reply.usage.output_tokens == len(ids) - start


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_text_does_not_depend_on_the_batch(local: LocalModel, temperature: float) -> None:
    requests = [request(t, temperature=temperature, max_tokens=5 + 3 * i) for i, t in enumerate(TEXTS)]
    together = local.generate(requests)
    alone = [local.generate([r])[0] for r in requests]
    pairs = local.generate(requests[::-1], batch_size=2)[::-1]
    assert [r.text for r in together] == [r.text for r in alone] == [r.text for r in pairs]
    assert [r.usage for r in together] == [r.usage for r in alone]


def test_sampling_is_seeded_by_the_request(local: LocalModel) -> None:
    drawn = [local.generate([request("a", temperature=1.0, top_p=p)])[0].text for p in (1.0, 1.0, 0.99)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_draw_follows_the_distribution() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.3]]).log().expand(6, 3)
    uniform = torch.tensor([[0.0], [0.49], [0.51], [0.79], [0.81], [0.999]])
    everything = torch.ones(6, 1)
    assert draw(logits, everything, uniform).tolist() == [0, 0, 2, 2, 1, 1]
    assert draw(logits, 0.6 * everything, uniform).tolist() == [0, 0, 0, 2, 2, 2]
    assert draw(logits, 0.4 * everything, uniform).tolist() == [0] * 6


def test_stops_at_any_eos_and_counts_it(local: LocalModel) -> None:
    first = local.generate([request("a", max_tokens=1, top_logprobs=1)])[0]
    assert (first.finish_reason, first.usage.output_tokens) == ("length", 1)
    assert first.top_logprobs is not None
    token = local.tokenizer(first.top_logprobs.tokens[0][0])["input_ids"][0]
    stopping = tiny_model()
    stopping.generation_config = GenerationConfig(eos_token_id=[1, token])
    reply = LocalModel(stopping, local.tokenizer).generate([request("a")])[0]
    assert (reply.finish_reason, reply.usage.output_tokens) == ("stop", 1)


def test_stop_string_ends_and_is_cut(local: LocalModel) -> None:
    whole = local.generate([request("seven")])[0].text
    stop = whole[3:5]
    reply = local.generate([request("seven", stop=(stop,))])[0]
    assert reply.text == whole[: whole.find(stop)]
    assert reply.finish_reason == "stop"
    assert reply.usage.output_tokens < 12


def test_top_logprobs_are_the_models(local: LocalModel) -> None:
    reply = local.generate([request("b", top_logprobs=3, max_tokens=4, temperature=0.7)])[0]
    top = reply.top_logprobs
    assert top is not None
    assert len(top.tokens) == reply.usage.output_tokens
    text = "<|user|>b<|end|><|assistant|>"
    with torch.no_grad():
        expected = local.model(torch.tensor([local.tokenizer(text)["input_ids"]])).logits[0, -1]
    best = expected.log_softmax(-1).topk(3)
    assert top.logprobs[0] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_prompt_beyond_the_context_is_a_value_not_a_crash(local: LocalModel) -> None:
    replies = local.generate([request("y" * 600), request("a")])
    assert (replies[0].text, replies[0].finish_reason, replies[0].usage.output_tokens) == ("", "length", 0)
    assert replies[1].usage.output_tokens == 12


def test_sampler_loads_answers_scores_and_closes(tmp_path: Path) -> None:
    folder = str(save_tiny(tmp_path / "m"))
    sampler = LocalSampler(None, TeacherId(wire_name=folder), model=folder, batch_size=2)
    assert isinstance(sampler, Sampler)
    assert isinstance(sampler, Scorer)

    async def run() -> tuple[list[Reply | Failure], list[float]]:
        await sampler.open()
        outcomes = await sampler.sample([request("a"), request("y" * 600), request("b")])
        top = await sampler.score([{"role": "user", "content": "a"}], outcomes[0].text, 2)  # type: ignore[union-attr]
        await sampler.close()
        await sampler.close()
        return outcomes, [values[0] for values in top.logprobs]

    outcomes, best = asyncio.run(run())
    assert isinstance(outcomes[0], Reply)
    assert outcomes[0].model == folder
    assert outcomes[0].fingerprint is not None
    assert len(outcomes[0].fingerprint) == 16
    assert outcomes[1] == Failure(reason="context_length", retryable=False, maybe_billed=False)
    assert all(-20 < value <= 0 for value in best)


def test_parameters_and_bytes(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m")
    local = LocalModel.load(str(folder))
    assert local.bytes == (folder / "model.safetensors").stat().st_size
    assert 4 * local.parameters < local.bytes < 4 * local.parameters + 4096


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_a_teacher_error(tmp_path: Path, missing: str) -> None:
    folder = save_tiny(tmp_path / "m")
    (folder / missing).unlink()
    with pytest.raises(TeacherError) as caught:
        LocalModel.load(str(folder))
    assert str(folder) in caught.value.message
    assert caught.value.hint


def test_truncated_or_incomplete_weights(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TeacherError, match="cannot load"):
        LocalModel.load(str(folder))
    weights.write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3, "layer_types": None}))
    with pytest.raises(TeacherError, match="weights are missing for"):
        LocalModel.load(str(folder))


def test_no_chat_template(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(TeacherError, match="no chat template"):
        LocalModel(tiny_model(), tokenizer).generate([request("a")])


def test_reasoning_is_apart_and_ends_with_its_budget(tmp_path: Path) -> None:
    """The prompt of this family opens the reasoning; a random model never closes it by itself."""
    local = LocalModel.load(str(save_family("r1", tmp_path / "m")))
    request = Request(
        prompt_id="a",
        messages=({"role": "user", "content": "2 + 2?"},),
        teacher="t",
        sampling=Sampling(max_tokens=40, temperature=1.0),
    )
    (free,) = local.generate([request])
    assert (free.text, free.finish_reason) == ("", "length")
    assert free.reasoning
    (short,) = local.generate([request], thinking_tokens=5)
    assert short.text
    closed = short.usage.output_tokens - len(local.tokenizer(short.text)["input_ids"])
    assert closed <= 5 + len(local.tokenizer("\n</think>\n\n")["input_ids"]) + 1
    assert free.reasoning.startswith(short.reasoning)
