"""Where records come from: the code, the packages, the device."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gfp_bench import __version__

_PACKAGES = ("numpy", "opencv-python-headless", "pillow", "scikit-learn", "scipy", "torch")


def revision() -> dict[str, Any]:
    """Return what names the code that runs: the package's version and, in a checkout, git's revision."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, encoding="utf-8", check=False)  # noqa: S603, S607
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        tracked = git("ls-files", "--error-unmatch", str(Path(__file__)))
        found, changes = (
            (git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no"))
            if tracked
            else (None, None)
        )
    except FileNotFoundError:  # no git on this machine
        found = changes = None
    return {"version": __version__, "revision": found, "dirty": bool(changes)}


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
        "threads": 1,
        "deterministic": device == "cpu" or torch.are_deterministic_algorithms_enabled(),
    }
