"""The worker and the scheduler, with their metrics: ``python -m voiceagent.background worker|beat [options of celery]``.

``celery -A voiceagent`` runs the same without metrics of the worker: its multiprocess mode must be on before anything
imports ``prometheus_client``.
"""

from __future__ import annotations

import os
import sys
from tempfile import TemporaryDirectory

#: Where ``prometheus_client`` looks, as it is imported, whether it is in its multiprocess mode.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def main(arguments: list[str]) -> None:
    """Run Celery with these arguments until it ends. Raises ``SystemExit``."""
    if arguments[:1] not in (["worker"], ["beat"]):
        sys.exit(__doc__)
    # A new folder each time: the files of an earlier process would be counted as ours. What a killed one leaves lies
    # where the system clears up.
    with TemporaryDirectory(prefix="voiceagent-metrics-") as folder:
        if arguments[0] == "worker":
            if "prometheus_client" in sys.modules:
                raise RuntimeError("prometheus_client was imported before its mode was chosen")
            os.environ[FOLDER_VARIABLE] = folder
        from celery.bin.celery import main as celery

        sys.argv = ["celery", "-A", "voiceagent", *arguments]
        celery()


if __name__ == "__main__":
    main(sys.argv[1:])
