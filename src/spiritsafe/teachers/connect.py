"""From a name in the recipe to a teacher.

bundled:teacher         a model shipped with this package
hf:REPO or a folder     a local model (transformers)
openai:MODEL            api.openai.com
http(s)://host/v1#NAME  any OpenAI-compatible server
anthropic:MODEL         api.anthropic.com, by the batch (or anthropic:URL#MODEL)
batch-file:FOLDER#NAME  files for a program of yours, such as `vllm run-batch`
"""

from __future__ import annotations

from urllib.parse import urlsplit

from spiritsafe.errors import UsageError
from spiritsafe.recipe import ModelAccess, Teacher
from spiritsafe.records import TeacherId, teacher_key
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.batch_anthropic import AnthropicBatches
from spiritsafe.teachers.batch_file import FileBatches
from spiritsafe.teachers.batch_openai import OpenAiBatches, OpenRouterBatches
from spiritsafe.teachers.batchapi import BatchTeacher
from spiritsafe.teachers.local_sampler import LocalSampler
from spiritsafe.teachers.sampler import Sampler

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com/v1"
BY_BATCH = ("anthropic:", "batch-file:")
"""Teachers that can be asked in no other way."""
EXAMPLE = "for example http://127.0.0.1:8000/v1#Qwen/Qwen3-32B"


def connect(ref: str, *, settings: ModelAccess | None = None) -> Sampler:
    """The sampler behind `ref`; nothing is contacted before its `open()`.

    Raises UsageError for a name of no known form and a missing key, InputError for a missing or incomplete
    model folder.
    """
    settings = settings or Teacher(model=ref)
    if only_by_batch(ref):
        raise UsageError(
            f"{ref.partition(':')[0]}: is asked by the batch alone",
            hint="a live teacher is named by its OpenAI-compatible address: " + f"{ANTHROPIC}#MODEL",
        )
    if is_served(ref):
        return ApiSampler(_address(ref)[0], teacher_id(ref, settings), settings)
    return LocalSampler.from_ref(ref, settings)


def connect_batch(ref: str, *, settings: ModelAccess | None = None) -> BatchTeacher:
    """The batch API behind `ref`; nothing is contacted before its `open()`.

    Raises UsageError for a model in this process, which has none, and as `connect` does.
    """
    settings = settings or Teacher(model=ref)
    if not is_served(ref):
        raise UsageError(f"{ref} runs in this process and has no batch API", hint="set collect.mode: live")
    base, teacher = _address(ref)[0], teacher_id(ref, settings)
    if ref.startswith("batch-file:"):
        return FileBatches(base, teacher, settings)
    if ref.startswith("anthropic:"):
        if settings.api_key_env == "OPENAI_API_KEY":
            settings = settings.model_copy(update={"api_key_env": "ANTHROPIC_API_KEY"})
        return AnthropicBatches(base, teacher, settings)
    provider = OpenRouterBatches if teacher.host.startswith("openrouter.ai:") else OpenAiBatches
    return provider(base, teacher, settings)


def is_served(ref: str) -> bool:
    """True for a teacher that does not run in this process."""
    return ref.startswith(("http://", "https://", "openai:", *BY_BATCH))


def only_by_batch(ref: str) -> bool:
    """True for a teacher that has no live endpoint."""
    return ref.startswith(BY_BATCH)


def teacher_id(ref: str, settings: ModelAccess) -> TeacherId:
    """Who answers under `ref`, without a key and without asking. Raises UsageError for a bad address."""
    if not is_served(ref):
        return TeacherId(wire_name=ref, is_model=settings.is_model)
    base, name = _address(ref)
    if ref.startswith("batch-file:"):
        return _offline(base, name, settings)
    try:
        url = urlsplit(base)
        port = url.port
    except ValueError as error:
        raise UsageError(f"not an address: {_shown(base)} ({error})", hint=EXAMPLE) from None
    if not name or not url.hostname:
        raise UsageError(
            f"the {settings.section} needs a server and a model name, got {_shown(base)}#{name}", hint=EXAMPLE
        )
    if url.username or url.password:
        raise UsageError(
            f"a URL may not carry a password: {_shown(base)}",
            hint=f"put the key in a variable: {settings.section}.api_key_env",
        )
    host = url.hostname if ":" not in url.hostname else f"[{url.hostname}]"
    port = port or (443 if url.scheme == "https" else 80)
    return TeacherId(wire_name=name, is_model=settings.is_model, host=f"{host}:{port}", channel="api")


def origin_of(ref: str) -> str:
    """The key of a teacher whose answers are brought along: `teacher_key` as a run would have it.

    `ref` is openai:MODEL, http(s)://host/v1#MODEL, hf:REPO, bundled:NAME, or the key itself, MODEL@HOST.
    Raises UsageError for anything else: nobody else can know whose words these are.
    """
    if is_served(ref) or ref.startswith(("hf:", "bundled:")):
        return teacher_key(teacher_id(ref, Teacher(model=ref)))
    name, at, host = ref.strip().rpartition("@")
    if not (name and at and host):
        raise UsageError(
            f"not the name of a teacher: {ref!r}",
            hint="openai:MODEL, http(s)://host/v1#MODEL, hf:REPO, or MODEL@HOST for any other provider",
        )
    return f"{name}@{host}"


def _address(ref: str) -> tuple[str, str]:
    """(base URL, model name) of a served teacher."""
    if ref.startswith("openai:"):
        return OPENAI, ref.removeprefix("openai:")
    if ref.startswith("anthropic:") and "://" not in ref:
        return ANTHROPIC, ref.removeprefix("anthropic:")
    base, _, name = ref.removeprefix("anthropic:").removeprefix("batch-file:").partition("#")
    return base, name


def _offline(folder: str, name: str, settings: ModelAccess) -> TeacherId:
    if not folder or not name:
        raise UsageError(
            f"a batch file needs a folder and a model name, got {folder}#{name}",
            hint="for example batch-file:batches#Qwen/Qwen3-32B",
        )
    return TeacherId(wire_name=name, is_model=settings.is_model, host="offline", channel="batch")


def _shown(base: str) -> str:
    """A URL without what may be secret in it."""
    scheme, _, rest = base.partition("://")
    server, slash, path = rest.partition("/")
    return f"{scheme}://{server.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
