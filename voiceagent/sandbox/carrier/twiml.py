"""TwiML as the carrier understands it: the verbs that a phone call meets."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit
from xml.parsers import expat

_VERBS = frozenset({"Connect", "Start", "Stop", "Hangup", "Reject", "Say", "Play", "Dial", "Redirect", "Pause"})


class TwimlError(Exception):
    """A document that the carrier refuses; ``code`` is what it would log."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Element:
    """An XML element: enough of a tree for TwiML."""

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def child(self, name: str) -> Element | None:
        """The first child of that name."""
        return next((child for child in self.children if child.name == name), None)


@dataclass(frozen=True, slots=True)
class StreamNoun:
    """``<Connect><Stream>``: where to connect and what to pass on."""

    url: str
    name: str | None
    parameters: dict[str, str]
    status_callback: str | None


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of a document, in order."""

    name: str
    action: str | None = None
    method: str = "POST"
    text: str = ""
    stream: StreamNoun | None = None
    number: str | None = None
    reason: str | None = None
    length_s: float = 0.0


def _tree(document: str) -> Element:
    """The document as a tree. Entities and doctypes are refused: TwiML has none."""
    root = Element("", {})
    stack = [root]
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        element = Element(name, attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    def doctype(*_: object) -> None:
        raise TwimlError(12100, "a document type is not allowed")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise TwimlError(12100, f"document parse failure: {error}") from None
    return root.children[0]


def _stream(connect: Element) -> StreamNoun:
    noun = connect.child("Stream")
    if noun is None:
        raise TwimlError(12200, "<Connect> needs a <Stream>")
    url = noun.attributes.get("url", "")
    parts = urlsplit(url)
    # The real carrier takes wss only; ws is for stand-ins on one machine.
    if parts.scheme not in ("ws", "wss") or not parts.netloc:
        raise TwimlError(31920, f"the stream's url is not a WebSocket address: {url!r}")
    if parts.query:
        raise TwimlError(31920, "the stream's url has a query string")
    if noun.attributes.get("track", "inbound_track") != "inbound_track":
        raise TwimlError(31941, "a two-way stream carries only the inbound track")
    parameters = {
        p.attributes.get("name", ""): p.attributes.get("value", "") for p in noun.children if p.name == "Parameter"
    }
    if sum(len(name) + len(value) for name, value in parameters.items()) >= 500:
        raise TwimlError(31920, "the stream's parameters are 500 characters or longer")
    return StreamNoun(url, noun.attributes.get("name"), parameters, noun.attributes.get("statusCallback"))


def _verb(element: Element) -> Verb:
    attributes = element.attributes
    number = element.child("Number")
    return Verb(
        name=element.name,
        action=attributes.get("action"),
        method=attributes.get("method", "POST").upper(),
        text=element.text.strip(),
        stream=_stream(element) if element.name == "Connect" else None,
        number=(number.text.strip() if number is not None else element.text.strip())
        if element.name == "Dial"
        else None,
        reason=attributes.get("reason"),
        length_s=float(attributes.get("length", 1)) if element.name == "Pause" else 0.0,
    )


def parse(document: str) -> list[Verb]:
    """The verbs of a document. Raises :class:`TwimlError`."""
    root = _tree(document)
    if root.name != "Response":
        raise TwimlError(12100, f"the root element is <{root.name}>, not <Response>")
    for element in root.children:
        if element.name not in _VERBS:
            raise TwimlError(12200, f"unknown verb <{element.name}>")
    return [_verb(element) for element in root.children]
