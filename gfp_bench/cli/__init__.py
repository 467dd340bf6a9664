"""The command line: the only room that prints, reads the environment and exits.

Exit codes: 0 all cells done; 1 some cells failed; 2 usage; 3 a check or verification failed; 4 drift; 130 interrupted.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import typer

USAGE, CHECK_FAILED, DRIFT, INTERRUPTED = 2, 3, 4, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Benchmark fingerprints of generative models: one protocol, exact attacks, numbers that can be re-derived.",
)


def say(text: str) -> None:
    """Print data to stdout."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def tell(text: str) -> None:
    """Print what is no data to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def stop(code: int, text: str) -> NoReturn:
    """Say why and exit."""
    tell(f"gfp-bench: {text}")
    raise SystemExit(code)


def cache() -> Path:
    """Return where decoded images lie: ``GFP_BENCH_CACHE``, or gfp-bench's folder in the user's cache."""
    return Path(os.environ.get("GFP_BENCH_CACHE") or Path.home() / ".cache" / "gfp-bench")


def results() -> Path:
    """Return where runs write: ``GFP_BENCH_RESULTS``, or ``results`` here."""
    return Path(os.environ.get("GFP_BENCH_RESULTS") or "results")


def data_folders() -> tuple[Path, ...]:
    """Return where datasets are looked for besides the built-in ones: ``GFP_BENCH_DATA``, separated as ``PATH`` is."""
    return tuple(Path(folder) for folder in os.environ.get("GFP_BENCH_DATA", "").split(os.pathsep) if folder)


for _room in ("running", "boards", "looking", "data", "zoo"):
    import_module(f"{__name__}.{_room}")


def main() -> None:
    """Run the command line; an error that a user can mend becomes one line and an exit code."""
    from gfp_bench.errors import GfpBenchError, UsageError

    try:
        app()
    except UsageError as error:
        stop(USAGE, str(error))
    except GfpBenchError as error:
        stop(CHECK_FAILED, str(error))
    except OSError as error:
        stop(1, f"{error.filename or 'a file'}: {error.strerror}; what is done is kept, the same command goes on")
