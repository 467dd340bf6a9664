"""The command line: the only room that prints, reads the environment and exits."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from gfp_bench import __version__
from gfp_bench.cli import boards, data, looking, reproducing, running, zoo
from gfp_bench.cli.output import ExitCode, say, stop
from gfp_bench.errors import GfpBenchError, MachineError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (running, boards, reproducing, looking):
    app.add_typer(group.app)
app.add_typer(data.app, name="data")
app.add_typer(zoo.app, name="zoo")


def _version(asked: bool | None) -> None:  # typer calls it, with None where it is not given
    if asked:
        say(f"gfp-bench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = None,
) -> None:
    """Benchmark fingerprints of generative models: one protocol, exact attacks, numbers that can be re-derived."""


def main() -> None:
    """Run the command line; an error that a user can mend becomes one line and an exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # boards are, whatever the locale
    try:
        app(prog_name="gfp-bench")
    except UsageError as error:
        stop(ExitCode.USAGE, str(error))
    except MachineError as error:
        stop(ExitCode.FAILED, f"{error}; what is done is kept, the same command goes on")
    except GfpBenchError as error:
        stop(ExitCode.CHECK_FAILED, str(error))
    except OSError as error:
        place = error.filename or "a file"
        stop(ExitCode.FAILED, f"{place}: {error.strerror}; what is done is kept, the same command goes on")
