"""From a name in the recipe to a teacher.

bundled:teacher         a model shipped with this package
hf:REPO or a folder     a local model (transformers)
openai:MODEL            api.openai.com
http(s)://host/v1#NAME  any OpenAI-compatible server
"""

from __future__ import annotations

from urllib.parse import urlsplit

from spiritsafe.errors import UsageError
from spiritsafe.recipe import Teacher
from spiritsafe.records import TeacherId
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.local_sampler import LocalSampler
from spiritsafe.teachers.sampler import Sampler

OPENAI = "https://api.openai.com/v1"


def connect(ref: str, *, settings: Teacher | None = None) -> Sampler:
    """The sampler behind `ref`; nothing is contacted before its `open()`.

    Raises UsageError for a name of no known form and a missing key, InputError for a missing or incomplete
    model folder.
    """
    settings = settings or Teacher(model=ref)
    if ref.startswith("openai:"):
        return _api(OPENAI, ref.removeprefix("openai:"), settings)
    if ref.startswith(("http://", "https://")):
        base, _, name = ref.partition("#")
        return _api(base, name, settings)
    return LocalSampler.from_ref(ref, settings)


def _api(base: str, name: str, settings: Teacher) -> ApiSampler:
    url = urlsplit(base)
    if not name or not url.hostname:
        raise UsageError(
            f"the teacher needs a server and a model name, got {_shown(base)}#{name}",
            hint="for example http://127.0.0.1:8000/v1#Qwen/Qwen3-32B",
        )
    if url.username or url.password:
        raise UsageError(
            f"a URL may not carry a password: {_shown(base)}",
            hint="put the key in a variable: teacher.api_key_env",
        )
    default = 443 if url.scheme == "https" else 80
    host = url.hostname if ":" not in url.hostname else f"[{url.hostname}]"
    teacher = TeacherId(
        wire_name=name, is_model=settings.is_model, host=f"{host}:{url.port or default}", channel="api"
    )
    return ApiSampler(base, teacher, settings)


def _shown(base: str) -> str:
    """A URL without what may be secret in it."""
    url = urlsplit(base)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
