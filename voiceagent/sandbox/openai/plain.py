"""``/v1/embeddings`` and ``/v1/models``."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from aiohttp import web

from voiceagent.sandbox.openai import catalogue, checks, wire
from voiceagent.sandbox.openai.conversation import count_tokens
from voiceagent.sandbox.openai.wire import ApiError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_CREATED = 1_760_000_000


def embed(text: str, size: int) -> NDArray[np.float32]:
    """A unit vector that depends only on the text; texts with words in common are close.

    Every word has a fixed random direction; the text's vector is the sum of its words'.
    """
    total = np.zeros(size, dtype=np.float64)
    for word in _WORD.findall(text.lower()) or [text]:
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
        total += np.random.default_rng(seed).standard_normal(size)
    return (total / np.linalg.norm(total)).astype(np.float32)


def _inputs(body: dict[str, Any]) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ApiError(400, "'input' must be a string or an array of strings.", param="input")
    if len(texts) > 2048:
        raise ApiError(400, "'input' may hold at most 2048 texts.", param="input")
    if any(not text for text in texts):
        raise ApiError(400, "'input' cannot be an empty string.", param="input")
    counts = [count_tokens(text) for text in texts]
    if max(counts) > 8192 or sum(counts) > 300_000:
        raise ApiError(400, "This model's maximum context length is 8192 tokens.", param="input")
    return texts


def _size(body: dict[str, Any], model: str) -> int:
    full = catalogue.EMBEDDING_SIZES[model]
    wanted = body.get("dimensions")
    if wanted is None:
        return full
    if model == "text-embedding-ada-002":
        raise ApiError(400, "This model does not support specifying dimensions.", param="dimensions")
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= full:
        raise ApiError(400, f"'dimensions' must be between 1 and {full}.", param="dimensions")
    return wanted


async def embeddings(request: web.Request) -> web.StreamResponse:
    """``POST /v1/embeddings``."""
    try:
        namespace = wire.admit(request)
        await wire.opening_fault(request, namespace, "openai.embeddings")
        body = await wire.json_body(request)
        model = body.get("model")
        if model not in catalogue.EMBEDDING_SIZES:
            raise ApiError(404, f"The model `{model}` does not exist or you do not have access to it.", param="model")
        texts, size = _inputs(body), _size(body, model)
        encoding = body.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise ApiError(400, f"Invalid value: '{encoding}'.", code="invalid_value", param="encoding_format")
    except ApiError as error:
        return error.response()
    namespace.journal.open("openai.embeddings", inputs=len(texts), model=model)["outcome"] = "answered"
    vectors = [embed(text, size) for text in texts]
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(v.astype("<f4").tobytes()).decode() if encoding == "base64" else v.tolist(),
        }
        for index, v in enumerate(vectors)
    ]
    count = sum(count_tokens(text) for text in texts)
    answer = {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": count, "total_tokens": count}}
    return web.json_response(answer, headers=wire.answer_headers())


def _model_json(name: str, shutdown_date: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "openai", "shutdown_date": shutdown_date}


async def models(request: web.Request) -> web.StreamResponse:
    """``GET /v1/models`` and ``GET /v1/models/{model}``."""
    try:
        namespace = wire.admit(request)
        await wire.opening_fault(request, namespace, "openai.models")
        known = {model.name: model.shutdown_date for model in catalogue.MODELS.values()}
        known |= dict.fromkeys(catalogue.EMBEDDING_SIZES) | namespace.settings.llm.models
        wanted = request.match_info.get("model")
        if wanted is None:
            listing = [_model_json(name, date) for name, date in known.items()]
            return web.json_response({"object": "list", "data": listing}, headers=wire.answer_headers())
        if wanted in known:
            return web.json_response(_model_json(wanted, known[wanted]), headers=wire.answer_headers())
        model = checks.model_of({"model": wanted}, {})
        return web.json_response(_model_json(wanted, model.shutdown_date), headers=wire.answer_headers())
    except ApiError as error:
        return error.response()
