"""Where records come from: the code, the packages, the device."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gfp_bench import __version__

_PACKAGES = ("numpy", "opencv-python-headless", "pillow", "scikit-learn", "scipy", "torch")

_WHERE = (":(top)gfp_bench/*.py", ":(top)plugins/*.py")  # at any depth: git's * takes slashes


def revision(module: Path = Path(__file__)) -> dict[str, Any]:
    """Return what names the code that runs: the package's version and, in a checkout, git's revision.

    It is ``dirty`` if a tracked file was changed, or a Python file lies among the core's or the plugins' that git does
    not know: it would be found and run.

    Args:
        module: A file of the package.
    """
    here = module.parent

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, encoding="utf-8", check=False)  # noqa: S603, S607
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        tracked = git("ls-files", "--error-unmatch", str(module))
        found = git("rev-parse", "HEAD") if tracked else None
        changes = tracked and git("status", "--porcelain", "--untracked-files=no")
        added = tracked and git("ls-files", "--others", "--exclude-standard", "--", *_WHERE)
    except FileNotFoundError:  # no git on this machine
        found = changes = added = None
    return {"version": __version__, "revision": found, "dirty": bool(changes or added)}


def processor() -> str:
    """Return what decides the order of a processor's sums: its model and the instructions that torch uses of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system
        lines = []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines) if value}
    model = " ".join(told.get(key, "") for key in ("model name", "cpu family", "model")) if told else ""
    return f"{model.strip() or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def provenance(device: str, code: dict[str, Any]) -> dict[str, Any]:
    """Return what a record says of where it was made.

    Args:
        device: ``cpu`` or ``cuda:<n>``.
        code: What `revision` returned when the run began.
    """
    return {
        "packages": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "code": code,
        "device": torch.cuda.get_device_name(device) if device != "cpu" else "cpu",
        "processor": processor(),
        "threads": 1,
        "deterministic": device == "cpu" or torch.are_deterministic_algorithms_enabled(),
    }
