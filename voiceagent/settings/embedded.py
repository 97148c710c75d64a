"""The default profile: servers from wheels, generated secrets, stand-ins for vendors without a key."""

from __future__ import annotations

import os

from voiceagent.bootstrap import read_env_file
from voiceagent.embedded.profile import install_defaults

read_env_file()
install_defaults(os.environ)

from voiceagent.settings.base import *  # noqa: E402, F403 - the defaults must be in place before base reads them
from voiceagent.settings.base import ALLOWED_HOSTS  # noqa: E402

ALLOWED_HOSTS += ["localhost", "127.0.0.1", "[::1]"]
# Static files straight from where they stand: nothing to collect before the first start.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_MANIFEST_STRICT = False
