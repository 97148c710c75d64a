#!/usr/bin/env python3
"""Django's command line, in the embedded profile unless ``DJANGO_SETTINGS_MODULE`` says otherwise.

In the embedded profile the database and Redis are started first when they are not running, and stopped at the
end when nobody else uses them.
"""

from __future__ import annotations

import sys

from voiceagent.bootstrap import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
