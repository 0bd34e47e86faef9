"""`argosy-agent` on a device that compiles an engine of each candidate, without the hardware.

What is compiled is nothing; that it is begun, told, killed and begun again is the agent's own.
"""

from __future__ import annotations

import threading
import time
from typing import Any
from unittest.mock import patch

from edge_agent.__main__ import app
from edge_agent.update.deriving import Deriving
from edge_agent.update.states import Outcome
from protocol.states import ExecutionEvent

BUILD_S = 0.1


def _decide(_self: Deriving, *_bundle: Any) -> Outcome:
    return Outcome(ExecutionEvent.BUILD_STARTED)


def _build(_self: Deriving, _digest: str, cancelled: threading.Event) -> Outcome:
    time.sleep(BUILD_S)
    return Outcome(ExecutionEvent.ERROR, "cancelled") if cancelled.is_set() else Outcome()


if __name__ == "__main__":
    with patch.multiple(Deriving, decide=_decide, build=_build):
        app()
