"""What the service refuses, checked before a model is asked."""

from __future__ import annotations

import re
from typing import Any

from voiceagent.sandbox.openai import catalogue
from voiceagent.sandbox.openai.catalogue import Model
from voiceagent.sandbox.openai.wire import ApiError

_FUNCTION_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs")
_VERBOSITIES = ("low", "medium", "high")


def model_of(body: dict[str, Any], more: dict[str, str | None]) -> Model:
    """The model that is asked for; ``more`` names models of a test's own with their shutdown dates."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise ApiError(400, "you must provide a model parameter", param="model")
    if name in more:
        return Model(name, shutdown_date=more[name])
    model = catalogue.find(name)
    if model is None:
        raise ApiError(404, f"The model `{name}` does not exist or you do not have access to it.", param="model")
    return model


def effort_of(model: Model, effort: Any, param: str) -> str | None:
    """The effort that will be used. Raises :class:`ApiError` for one that the model does not have."""
    if effort is None:
        return model.default_effort
    if not model.efforts:
        raise ApiError(
            400, f"Unsupported parameter: '{param}' is not supported with this model.",
            code="unsupported_parameter", param=param,
        )  # fmt: skip
    if effort not in model.efforts:
        allowed = ", ".join(f"'{value}'" for value in model.efforts)
        raise ApiError(
            400, f"Unsupported value: '{param}' does not support '{effort}' with this model. Supported values are: {allowed}.",
            code="unsupported_value", param=param,
        )  # fmt: skip
    return str(effort)


def check_verbosity(model: Model, verbosity: Any, param: str) -> None:
    """Only reasoning models have a verbosity other than the default."""
    if verbosity is None:
        return
    allowed = _VERBOSITIES if model.efforts else ("medium",)
    if verbosity not in allowed:
        raise ApiError(
            400, f"Unsupported value: '{param}' does not support '{verbosity}' with this model.",
            code="unsupported_value", param=param,
        )  # fmt: skip


def check_sampling(model: Model, effort: str | None, body: dict[str, Any]) -> None:
    """Sampling parameters are refused while the model reasons."""
    if not model.efforts or effort == "none":
        return
    for name in _SAMPLING:
        value = body.get(name)
        if value is None or (name == "temperature" and value == 1):
            continue
        raise ApiError(
            400, f"Unsupported parameter: '{name}' is not supported with this model.",
            code="unsupported_value" if name == "temperature" else "unsupported_parameter", param=name,
        )  # fmt: skip


def check_limit(body: dict[str, Any], name: str) -> int | None:
    """A limit of output tokens."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ApiError(400, f"Invalid '{name}': expected a positive integer.", param=name)
    return value


def check_function(definition: Any, param: str) -> dict[str, Any]:
    """A function's definition, its name and schema checked; ``strict`` needs a closed schema with everything required."""
    if not isinstance(definition, dict):
        raise ApiError(400, f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    name = definition.get("name")
    if not isinstance(name, str) or not _FUNCTION_NAME.match(name):
        raise ApiError(400, f"Invalid '{param}.name'.", code="invalid_value", param=f"{param}.name")
    parameters = definition.get("parameters")
    if parameters is None:
        return definition
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        raise ApiError(
            400, f"Invalid schema for function '{name}': schema must be of type object.",
            code="invalid_function_parameters", param=f"{param}.parameters",
        )  # fmt: skip
    if definition.get("strict"):
        _check_strict(name, parameters, param)
    return definition


def _check_strict(name: str, schema: dict[str, Any], param: str) -> None:
    properties = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False
    if not closed or set(schema.get("required", ())) != set(properties):
        missing = (
            "'additionalProperties' is required to be false" if not closed else "'required' must list every property"
        )
        raise ApiError(
            400, f"Invalid schema for function '{name}': {missing}.",
            code="invalid_function_parameters", param=f"{param}.parameters",
        )  # fmt: skip


def check_length(name: str, value: Any, longest: int) -> None:
    """A string no longer than the service takes."""
    if value is not None and (not isinstance(value, str) or len(value) > longest):
        raise ApiError(400, f"Invalid '{name}': string too long. Expected at most {longest} characters.", param=name)
