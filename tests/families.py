"""Tiny random models of the families that people distil into: the true architecture, the true kind of
chat template (our own words, the same markers and the same handling of roles, reasoning and tools)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML_TURN = (
    "{%- for m in messages %}{%- if m.role != 'assistant' and m.role != 'tool' %}"
    "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{%- elif m.role == 'tool' %}"
    "{{- '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>assistant\n' }}THINK{{- m.content or '' }}"
    "{%- for call in m.tool_calls or [] %}"
    "{{- '<tool_call>\n' + (call.function | tojson) + '\n</tool_call>' }}{%- endfor %}"
    "{{- '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}PROMPT{%- endif %}"
)
TOOLS = "{%- if tools %}{{- '<|im_start|>system\nTools:\n' + (tools | tojson) + '<|im_end|>\n' }}{%- endif %}"
CHATML = TOOLS + CHATML_TURN.replace("THINK", "").replace("PROMPT", "")
# The last turn alone shows its reasoning; an empty block stands where there is none; a switch turns it off.
QWEN3 = TOOLS + CHATML_TURN.replace(
    "THINK",
    "{%- if loop.last %}{{- '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{%- endif %}",
).replace(
    "PROMPT",
    "{%- if enable_thinking is defined and not enable_thinking %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- endif %}",
)
# R1 distillations: the prompt opens the reasoning, and the template drops that of the turns it writes.
R1 = (
    "{{- bos_token }}{%- for m in messages %}{%- if m.role == 'user' %}{{- '<|user|>' + m.content }}"
    "{%- elif m.role == 'assistant' %}"
    "{{- '<|assistant|>' + m.content.split('</think>')[-1] + eos_token }}"
    "{%- else %}{{- m.content }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|><think>\n' }}{%- endif %}"
)
LLAMA3 = (
    "{{- bos_token }}{%- for m in messages %}"
    "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{%- if m.tool_calls %}{{- m.tool_calls[0].function | tojson }}{%- else %}{{- m.content | trim }}"
    "{%- endif %}{{- '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
MISTRAL = (
    "{{- bos_token }}{%- for m in messages %}"
    "{%- if m.role == 'user' %}{{- '[INST] ' + m.content + '[/INST]' }}"
    "{%- elif m.role == 'assistant' %}{{- ' ' + m.content | trim + eos_token }}"
    "{%- else %}{{- raise_exception('roles are user and assistant') }}{%- endif %}{%- endfor %}"
)
GEMMA = (
    "{{- bos_token }}{%- for m in messages %}"
    "{%- if m.role == 'system' %}{{- raise_exception('no system role') }}{%- endif %}"
    "{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{- (m.content | trim) + '<end_of_turn>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class Family:
    """Model class, its template, and the tokens that a turn and a text end with."""

    name: str
    model: str
    template: str
    end: str
    specials: tuple[str, ...]
    eos: str
    bos: str | None = None
    sizes: dict[str, Any] = field(default_factory=dict)


CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
FAMILIES = {
    family.name: family
    for family in (
        Family("qwen2", "Qwen2", CHATML, "<|im_end|>", CHATML_TOKENS, "<|im_end|>"),
        Family("qwen3", "Qwen3", QWEN3, "<|im_end|>", CHATML_TOKENS, "<|im_end|>", sizes={"head_dim": 8}),
        Family("smollm", "Llama", CHATML, "<|im_end|>", CHATML_TOKENS, "<|im_end|>"),
        Family(
            "llama3",
            "Llama",
            LLAMA3,
            "<|eot_id|>",
            ("<|bos|>", "<|eos|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            "<|eos|>",
            "<|bos|>",
        ),
        Family("mistral", "Mistral", MISTRAL, "</s>", ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>"),
        Family(
            "gemma2",
            "Gemma2",
            GEMMA,
            "<end_of_turn>",
            ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
            "<eos>",
            "<bos>",
            {"head_dim": 8, "sliding_window": 64},
        ),
        Family(
            "r1",
            "Qwen2",
            R1,
            "<eos>",
            ("<|endoftext|>", "<bos>", "<eos>", "<|user|>", "<|assistant|>"),
            "<eos>",
            "<bos>",
        ),
    )
}


def tokenizer_of(family: Family) -> Any:
    """One token per byte, the family's control tokens, and reasoning tags that are tokens but no controls."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True) for text in family.specials])
    core.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=family.eos, bos_token=family.bos, pad_token=family.specials[0]
    )
    tokenizer.chat_template = family.template
    return tokenizer


def model_of(family: Family, *, vocab: int, hidden: int = 32, layers: int = 2, seed: int = 0) -> Any:
    """A random model of the family's own class."""
    torch.manual_seed(seed)
    values = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **family.sizes,
    }
    config = getattr(transformers, f"{family.model}Config")(**values)
    return getattr(transformers, f"{family.model}ForCausalLM")(config).eval()


def save_family(name: str, folder: Path, **options: Any) -> Path:
    """A complete model folder as `hf:` would download it."""
    family = FAMILIES[name]
    tokenizer = tokenizer_of(family)
    model = model_of(family, vocab=len(tokenizer), **options)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(family.end)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
