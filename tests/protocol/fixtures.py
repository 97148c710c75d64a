"""What the official conformance suite wants to find on a server, by the names it asks for.

Only tests serve this, through the same mount and built by the same ``new_server`` as the memory's own server.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context  # noqa: TC002 - read at run time
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import Message, UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

from memory.mcp.server import new_server

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
_STEP_S = 0.05


def build() -> MCPServer:
    """A server with everything that is asked for."""
    server = new_server("conformance")
    for add in (_contents, _talk, _questions, _resources, _prompts):
        add(server)
    return server


def _embedded(uri: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type="text/plain", text=text))


def _contents(server: MCPServer) -> None:
    """Tools that answer with each kind of content."""
    image = ImageContent(type="image", data=PNG, mime_type="image/png")
    text = TextContent(type="text", text="This is a simple text response for testing.")
    audio = AudioContent(type="audio", data=WAV, mime_type="audio/wav")
    answers: dict[str, list[Any]] = {
        "test_simple_text": [text],
        "test_image_content": [image],
        "test_audio_content": [audio],
        "test_embedded_resource": [_embedded("test://embedded-resource", "An embedded resource.")],
        "test_multiple_content_types": [text, image, _embedded("test://mixed-content-resource", "Mixed.")],
    }
    for name, answer in answers.items():
        server.add_tool(lambda answer=answer: answer, name, description=f"Answers with {len(answer)} kinds of content.")

    @server.tool()
    def test_error_handling() -> str:
        """Always fails."""
        raise ToolError("This tool intentionally returns an error for testing")


def _talk(server: MCPServer) -> None:
    """Tools that say or ask something on the way."""

    async def logging(ctx: Context) -> str:
        for text in ("started", "processing", "completed"):
            await ctx.session.send_log_message("info", f"Tool {text}", related_request_id=ctx.request_id)
            await asyncio.sleep(_STEP_S)
        return "logged"

    for name in ("test_tool_with_logging", "test_logging_tool", "test_streaming_elicitation"):
        server.add_tool(logging, name, description="Writes to the client's log.")

    @server.tool()
    async def test_tool_with_progress(ctx: Context) -> str:
        """Reports how far it is."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100, f"{done} of 100")
            await asyncio.sleep(_STEP_S)
        return "done"

    @server.tool()
    async def test_sampling(prompt: str, ctx: Context) -> str:
        """Asks the client's model."""
        question = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        answer = await ctx.session.create_message([question], max_tokens=100, related_request_id=ctx.request_id)
        return f"LLM response: {getattr(answer.content, 'text', '')}"

    async def ask(ctx: Context, message: str, schema: type[BaseModel]) -> str:
        answer = await ctx.elicit(message, schema)
        content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
        return f"Elicitation completed: action={answer.action}, content={content}"

    @server.tool()
    async def test_elicitation(message: str, ctx: Context) -> str:
        """Asks the client's user."""
        return await ask(ctx, message, _Name)

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        """Asks with a default for each type."""
        return await ask(ctx, "Who are you?", _Defaults)

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        """Asks to choose, in each way there is."""
        return await ask(ctx, "Which?", _Choices)


class _Name(BaseModel):
    response: str = Field(description="Your name")


class _Defaults(BaseModel):
    name: str = Field(default="John Doe")
    age: int = Field(default=30)
    score: float = Field(default=95.5)
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(default=True)


_TITLED = [{"const": "value1", "title": "First"}, {"const": "value2", "title": "Second"}]
_PLAIN = ["option1", "option2", "option3"]


class _Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": _PLAIN})
    titledSingle: str = Field(json_schema_extra={"oneOf": _TITLED})
    legacyEnum: str = Field(json_schema_extra={"enum": _PLAIN, "enumNames": ["One", "Two", "Three"]})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": _PLAIN}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _TITLED}})


def _form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str) -> CreateMessageRequest:
    question = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[question], max_tokens=50))


_NAME = _form("What is your name?", "name")
#: Tool: the rounds of questions it asks before it answers, each with the state that goes with them.
ROUNDS: dict[str, list[tuple[dict[str, Any], str | None]]] = {
    "test_input_required_result_elicitation": [({"user_name": _NAME}, None)],
    "test_input_required_result_sampling": [({"capital_question": _sample("What is the capital of France?")}, None)],
    "test_input_required_result_list_roots": [({"client_roots": ListRootsRequest()}, None)],
    "test_input_required_result_request_state": [({"confirm": _form("Sure?", "ok", "boolean")}, "asked")],
    "test_input_required_result_tampered_state": [({"confirm": _form("Sure?", "ok", "boolean")}, "asked")],
    "test_input_required_result_multiple_inputs": [
        ({"user_name": _NAME, "greeting": _sample("Generate a greeting"), "client_roots": ListRootsRequest()}, "asked")
    ],
    "test_input_required_result_multi_round": [
        ({"step1": _form("Step 1: What is your name?", "name")}, "1"),
        ({"step2": _form("Step 2: What is your favorite color?", "color")}, "2"),
    ],
}


def _questions(server: MCPServer) -> None:
    """Tools that ask back in the way of 2026-07-28: by a result that says what is missing."""

    def in_rounds(rounds: list[tuple[dict[str, Any], str | None]]) -> Any:
        async def tool(ctx: Context) -> str | InputRequiredResult:
            given = ctx.input_responses or {}
            begin = next((at for at, (_, state) in enumerate(rounds) if ctx.request_state == state), 0)
            asked = rounds[begin][0]
            at = begin + 1 if set(asked) <= set(given) else begin
            if at < len(rounds):
                questions, state = rounds[at]
                return InputRequiredResult(input_requests=questions, request_state=state)
            return f"state-ok: {', '.join(sorted(asked))}"

        return tool

    for name, rounds in ROUNDS.items():
        server.add_tool(in_rounds(rounds), name, description="Asks back.", structured_output=False)

    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
        """Asks only for what the client can do."""
        can = ctx.client_capabilities
        asked = {
            **({"greeting": _sample("Generate a greeting")} if can and can.sampling else {}),
            **({"user_name": _NAME} if can and can.elicitation else {}),
        }
        return InputRequiredResult(input_requests=asked) if asked else "nothing can be asked"

    @server.tool()
    async def test_missing_capability(ctx: Context) -> str:
        """Needs a client with a model."""
        if not (ctx.client_capabilities and ctx.client_capabilities.sampling):
            needed = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", needed)
        return "sampling is there"

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context) -> list[Message] | InputRequiredResult:
        """Asks for its context first."""
        if "user_context" in (ctx.input_responses or {}):
            return [UserMessage("Go on.")]
        form = _form("What context should the prompt use?", "context")
        return InputRequiredResult(input_requests={"user_context": form})


def _resources(server: MCPServer) -> None:
    @server.resource("test://static-text")
    def text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def image() -> bytes:
        """An image."""
        return bytes.fromhex("89504e470d0a1a0a")

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def from_template(id: str) -> str:
        """One of many."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource")
    def watched() -> str:
        """One that can be subscribed to."""
        return "Watched."

    async def accept(_ctx: Any, _params: Any) -> EmptyResult:
        return EmptyResult()

    # What revisions before 2026-07-28 know besides; the SDK has no public way to add it to an MCPServer.
    add = server._lowlevel_server.add_request_handler
    add("resources/subscribe", SubscribeRequestParams, accept)
    add("resources/unsubscribe", UnsubscribeRequestParams, accept)
    add("logging/setLevel", SetLevelRequestParams, accept)


def _prompts(server: MCPServer) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Without arguments."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """With two."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:
        """With a resource in it."""
        return [UserMessage(_embedded(resourceUri, "Embedded resource content for testing."))]

    @server.prompt()
    def test_prompt_with_image() -> list[Message]:
        """With an image in it."""
        return [UserMessage(ImageContent(type="image", data=PNG, mime_type="image/png"))]

    @server.completion()
    async def complete(_ref: Any, argument: Any, _context: Any) -> Completion:
        return Completion(values=[word for word in ("paris", "park", "party") if word.startswith(argument.value)])
