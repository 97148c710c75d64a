"""Black-box scenarios for voice bots on Twilio's protocol; see ``docs/conformance.md``."""

import pytest

# Judgements are assertions in modules that are no tests; their failures should say as much.
pytest.register_assert_rewrite("tests.conformance.bot", "tests.conformance.call")
