"""Cuts a run short: a process of it and the runner are killed at a chosen rename, as by a power cut.

Every file of a run appears by rename, so the renames are the points at which to cut. To be imported where the
processes of a run come from; these are not shut in, since they note their renames and kill the runner.
"""

import json
import os
import signal
from pathlib import Path

from gfp_bench.engine import worker

_renamed = Path.replace


def _replace(self: Path, target: Path) -> Path:
    order = json.loads(Path(os.environ["KILL_ORDER"]).read_text())  # at which rename, when, whom, where to note them
    journal = Path(order["journal"])
    with journal.open("a") as file:
        file.write(f"{Path(target).name}\n")
    if len(journal.read_text().splitlines()) != order["at"]:
        return _renamed(self, target)
    if order["when"] == "middle" and self.is_file():
        os.truncate(self, self.stat().st_size // 2)
    if order["when"] == "after":
        _renamed(self, target)
    for process in (order["runner"], os.getpid()):
        os.kill(process, signal.SIGKILL)
    raise AssertionError("still here")


Path.replace = _replace  # type: ignore[method-assign, assignment]
worker.restrict = lambda readable, writable: 0
