"""What the memory is told by the configuration, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

#: Signatures of an outside issuer's tokens: only such as have a public key. A shared secret is not a key that one publishes.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
#: Where the MCP server is, and what it says of itself (RFC 9728, section 3.1).
PATH = "/mcp"
METADATA_PATH = "/.well-known/oauth-protected-resource" + PATH


@dataclass(frozen=True, slots=True)
class JwtConf:
    """An outside issuer whose tokens are admitted. ``callers_claim`` names the claim with the ids of callers."""

    issuer: str
    jwks_url: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    callers_claim: str = "callers"


@dataclass(frozen=True, slots=True)
class McpConf:
    """``base_url`` is this server's public address; ``rate_per_minute`` holds for tokens of an outside issuer."""

    base_url: str
    jwt: JwtConf | None = None
    rate_per_minute: int = 120

    @property
    def resource_url(self) -> str:
        """The address by which clients and issuers name this server (RFC 8707)."""
        return self.base_url + PATH

    @property
    def metadata_url(self) -> str:
        """Where its metadata stands."""
        return self.base_url + METADATA_PATH
