"""Structured output: which answer formats the service takes, and the least answer that keeps to one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from voiceagent.sandbox.openai.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where requests for an answer in a fixed form stand in the journal, and what faults for them name.
ENDPOINT = "openai.structured"
_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_DEEPEST = 10
_LEAST: dict[str, Any] = {"string": "", "boolean": False, "null": None}


def is_asked(body: Mapping[str, Any]) -> bool:
    """Whether a request of either API asks for an answer in a fixed form."""
    text = body.get("text")
    given = body.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    return isinstance(given, dict) and given.get("type") in ("json_schema", "json_object")


def schema_of(given: Any, param: str, nested: str = "") -> dict[str, Any] | None:
    """The schema that an answer must keep to; ``None`` for free text, ``{}`` for any object.

    ``nested`` names the member that holds it in the older API. Raises :class:`ApiError` as the service refuses.
    """
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise ApiError(
            400, f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            code="invalid_value", param=f"{param}.type",
        )  # fmt: skip
    if kind != "json_schema":
        return None if kind == "text" else {}
    place = f"{param}.{nested}" if nested else param
    form = given.get(nested) if nested else given
    if not isinstance(form, dict):
        raise ApiError(400, f"Missing required parameter: '{place}'.", code="missing_required_parameter", param=place)
    name, schema = form.get("name"), form.get("schema")
    if not isinstance(name, str) or not _NAME.match(name):
        raise ApiError(400, f"Invalid '{place}.name'.", code="invalid_value", param=f"{place}.name")
    if not isinstance(schema, dict):
        raise ApiError(
            400, f"Missing required parameter: '{place}.schema'.", code="missing_required_parameter", param=place
        )
    if schema.get("type") != "object":
        raise _bad(name, "schema must be a JSON Schema of 'type: \"object\"'", param)
    if form.get("strict"):
        _check(name, schema, (), param)
    return schema


def _check(name: str, schema: Any, context: tuple[str, ...], param: str) -> None:
    """The strict form: objects are closed, and every property is required."""
    if not isinstance(schema, dict):
        return
    where = f"In context={context!r}, "
    if len(context) > 2 * _DEEPEST:
        raise _bad(name, f"{where}the schema is nested too deeply", param)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            raise _bad(name, f"{where}'additionalProperties' is required to be supplied and to be false", param)
        missing = [key for key in properties if key not in schema.get("required", ())]
        if missing:
            raise _bad(
                name, f"{where}'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{missing[0]}'", param,
            )  # fmt: skip
        for key, value in properties.items():
            _check(name, value, (*context, "properties", key), param)
    _check(name, schema.get("items"), (*context, "items"), param)
    for part in schema.get("anyOf") or ():
        _check(name, part, (*context, "anyOf"), param)
    for key, part in (schema.get("$defs") or {}).items():
        _check(name, part, (*context, "$defs", key), param)


def _bad(name: str, why: str, param: str) -> ApiError:
    return ApiError(400, f"Invalid schema for response_format '{name}': {why}.", param=param)


def least(schema: Mapping[str, Any]) -> str:
    """The JSON text of the smallest answer that keeps to a schema: empty lists and texts, the first of several values."""
    return orjson.dumps(_least(schema, schema)).decode()


def _least(schema: Any, whole: Mapping[str, Any], depth: int = 0) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _least(whole.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2]), whole, depth + 1)
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    if schema.get("anyOf"):
        return _least(schema["anyOf"][0], whole, depth + 1)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {key: _least(value, whole, depth + 1) for key, value in schema.get("properties", {}).items()}
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "array":
        return [_least(schema.get("items"), whole, depth + 1)] * int(schema.get("minItems", 0))
    return _LEAST.get(str(kind), "")
