import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from spiritsafe.evaluate.speed import _batch, _cpu_peak, measure  # noqa: E402
from spiritsafe.records import Message, Prompt  # noqa: E402

PROMPTS = [Prompt(prompt_id=str(n), messages=(Message(role="user", content="a" * n),)) for n in (4, 6, 8, 20)]


class Tokenizer:
    def __call__(self, text):
        return {"input_ids": [ord(letter) % 32 for letter in text]}


class Model:
    tokenizer = Tokenizer()

    def __init__(self, layers, hidden=32):
        config = transformers.LlamaConfig(
            vocab_size=32,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
        self.model = transformers.LlamaForCausalLM(config).eval()


def test_batches_are_full_and_of_the_median_length():
    ids = _batch(Model(1), PROMPTS, 64)
    assert ids.shape == (64, 6)
    assert ids.tolist() == [[1] * 6] * 64


def test_a_bigger_model_is_slower_and_takes_more_memory():
    speeds = measure({"big": Model(8, 64), "small": Model(1)}, PROMPTS, 4, repeats=3)
    big, small = speeds["big"], speeds["small"]
    assert small.decode_1 > 2 * big.decode_1
    assert small.decode_64 > 2 * big.decode_64
    assert small.prefill_64 > big.prefill_64
    assert small.peak_memory_bytes < big.peak_memory_bytes
    assert (small.repeats, small.prompt_tokens, small.decode_tokens) == (3, 6, 4)
    assert all(low <= getattr(big, key) <= high for key, (low, high) in big.spread.items())
    json.dumps([speed.to_json() for speed in speeds.values()], allow_nan=False)


def test_no_repeat_is_begun_after_the_limit_but_three_are_made():
    assert measure({"one": Model(1)}, PROMPTS, 2, repeats=9, limit_s=0.0)["one"].repeats == 3


def test_peak_memory_counts_what_is_alive_together():
    def work():
        for _ in range(3):
            kept = torch.empty(1_000_000, dtype=torch.uint8)
            del kept
        both = [torch.empty(1_000_000, dtype=torch.uint8) for _ in range(2)]
        del both

    assert _cpu_peak(work) == pytest.approx(2_000_000, rel=0.01)


def test_weights_count_in_the_peak():
    model = Model(2)
    weights = sum(p.numel() * 4 for p in model.model.parameters())
    speed = measure({"m": model}, PROMPTS, 2, repeats=1)["m"]
    assert weights < speed.peak_memory_bytes < weights + 2_000_000


def test_nothing_to_measure_with_is_refused():
    with pytest.raises(ValueError, match="prompts"):
        measure({"m": Model(1)}, [], 4)
