"""The embedded profile for tests: nothing of the developer's environment, fast passwords, plain static files.

The servers' addresses are filled in by ``tests/conftest.py`` once a test needs them.
"""

from __future__ import annotations

import os

from voiceagent.conf import OUTSIDE_NAMES

for _name in OUTSIDE_NAMES:
    os.environ.pop(_name, None)
    os.environ.pop(f"{_name}_FILE", None)
os.environ.update(
    ENV_FILE=os.devnull,
    SECRET_KEY="test-secret-key-of-no-value-0123456789abcdefghijklmnop",  # noqa: S106 - of no value
    CALLER_HASH_KEY="test-caller-hash-key",
    MEMORY_KEY="test-memory-key-of-no-value-0123456789",
    CARTESIA_API_KEY="test-cartesia-key",
    OPENAI_API_KEY="test-openai-key",
    TWILIO_ACCOUNT_SID="AC00000000000000000000000000000000",
    TWILIO_AUTH_TOKEN="test-twilio-token",  # noqa: S106 - of no value
    # Port 9 refuses: a test that forgot to bring its stand-in fails at once and never leaves the machine.
    CARTESIA_BASE_URL="http://127.0.0.1:9",
    OPENAI_BASE_URL="http://127.0.0.1:9/v1",
    OPENAI_DISTIL_MODEL="none",
    TWILIO_API_BASE_URL="http://127.0.0.1:9",
    PUBLIC_BASE_URL="http://testserver",
    DATABASE_URL="postgresql://nobody:nothing@127.0.0.1:9/voiceagent",
    REDIS_URL="redis://127.0.0.1:9/0",
    DATABASE_POOL_SIZE="0",
    ENVIRONMENT="test",
    TWO_FACTORS="off",
    # Tests ring from one number and one address as often as they need to.
    CALLS_PER_NUMBER_PER_MINUTE="0",
    UNSIGNED_PER_MINUTE="0",
)

from voiceagent.settings.base import *  # noqa: E402, F403 - the environment of tests first

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
SERVESTATIC_USE_FINDERS = True
