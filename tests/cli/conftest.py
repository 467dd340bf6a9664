"""The command line, called in a folder of its own."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from gfp_bench.cli import main

Call: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the command line with some words; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    monkeypatch.delenv("GFP_BENCH_RESULTS", raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gfp-bench", *words])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call
