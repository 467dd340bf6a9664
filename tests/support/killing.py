"""A plugin file that cuts a run short: its process and the runner are killed at a chosen rename, as by a power cut.

Its attack does nothing. Every file of a run appears by rename, so the renames are the points at which to cut.
"""

import json
import os
import signal
from pathlib import Path

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl

_renamed = Path.replace
_order = json.loads(Path(os.environ["KILL_ORDER"]).read_text())  # at which rename, when, whom, and where to note them
_journal = Path(_order["journal"])


def _replace(self: Path, target: Path) -> Path:
    with _journal.open("a") as file:
        file.write(f"{Path(target).name}\n")
    if len(_journal.read_text().splitlines()) != _order["at"]:
        return _renamed(self, target)
    if _order["when"] == "middle" and self.is_file():
        os.truncate(self, self.stat().st_size // 2)
    if _order["when"] == "after":
        _renamed(self, target)
    for process in (_order["runner"], os.getpid()):
        os.kill(process, signal.SIGKILL)
    raise AssertionError("still here")


Path.replace = _replace  # type: ignore[method-assign, assignment]


class Nothing(Perturbation):
    """What a plugin file has to bring."""

    name = "nothing"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images


@hookimpl
def register_attacks(register: Register) -> None:
    register(Nothing)
