"""The control API ``/_sandbox/``: scripts, delays and faults by instruction, and the journal to read.

Only answered on the loopback interface: it lets anyone read what a client sent.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from voiceagent.sandbox.script import Fault, Settings
from voiceagent.sandbox.state import STATE, Namespace

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(value, default=str), status=status, content_type="application/json", charset="utf-8"
    )


def local_only(handler: Handler) -> Handler:
    """Refuse a request that does not come from this machine."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not ipaddress.ip_address(request.remote or "::").is_loopback:
            return _json({"error": "the control API answers on the loopback interface only"}, 403)
        return await handler(request)

    return guarded


def _namespace(request: web.Request) -> Namespace:
    return request.app[STATE].namespace(request.match_info["key"])


async def _namespaces(request: web.Request) -> web.StreamResponse:
    return _json({"keys": request.app[STATE].keys()})


async def _get_settings(request: web.Request) -> web.StreamResponse:
    return _json(_namespace(request).settings.model_dump())


def merge(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Settings with some fields changed, section by section. Raises ``ValueError`` for what does not fit."""
    merged = settings.model_dump()
    for section, values in changes.items():
        if section not in merged or not isinstance(values, dict):
            raise ValueError(f"unknown section of settings: {section}")
        merged[section] |= values
    return Settings.model_validate(merged)


def _adopt(into: BaseModel, new: BaseModel) -> None:
    for name in type(into).model_fields:
        setattr(into, name, getattr(new, name))


def change_settings(namespace: Namespace, changes: dict[str, Any]) -> None:
    """Change settings in place, so that connections already open see the change."""
    merged = merge(namespace.settings, changes)
    for section in type(merged).model_fields:
        _adopt(getattr(namespace.settings, section), getattr(merged, section))


async def _patch_settings(request: web.Request) -> web.StreamResponse:
    try:
        change_settings(_namespace(request), orjson.loads(await request.read()))
    except (ValueError, AttributeError) as error:
        return _json({"error": str(error)}, 400)
    return await _get_settings(request)


async def _add_faults(request: web.Request) -> web.StreamResponse:
    try:
        given = orjson.loads(await request.read())
        faults = [Fault.model_validate(item) for item in (given if isinstance(given, list) else [given])]
    except (ValidationError, orjson.JSONDecodeError) as error:
        return _json({"error": str(error)}, 400)
    _namespace(request).faults.extend(faults)
    return await _list_faults(request)


async def _list_faults(request: web.Request) -> web.StreamResponse:
    return _json([fault.model_dump() for fault in _namespace(request).faults])


async def _clear_faults(request: web.Request) -> web.StreamResponse:
    _namespace(request).faults.clear()
    return _json([])


async def _journal(request: web.Request) -> web.StreamResponse:
    return _json(_namespace(request).journal.of(request.query.get("endpoint", "*")))


async def _reset(request: web.Request) -> web.StreamResponse:
    request.app[STATE].reset(request.match_info["key"])
    return _json({})


def add_routes(app: web.Application) -> None:
    """The addresses under ``/_sandbox/ns/{credential}/``."""
    base = "/_sandbox/ns/{key}"
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/_sandbox/ns", _namespaces),
        ("DELETE", base, _reset),
        ("GET", base + "/settings", _get_settings),
        ("PATCH", base + "/settings", _patch_settings),
        ("GET", base + "/faults", _list_faults),
        ("POST", base + "/faults", _add_faults),
        ("DELETE", base + "/faults", _clear_faults),
        ("GET", base + "/journal", _journal),
    ]
    for method, path, handler in table:
        app.router.add_route(method, path, local_only(handler))
