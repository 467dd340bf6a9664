"""What a check came to: its outcome, the plugin's line that it failed on, and which findings have one cause."""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gfp_bench.errors import PluginError, UsageError

Verdict: TypeAlias = Literal["passed", "FAILED", "not checked"]


class UncheckedError(Exception):
    """Raised by a check that does not apply to a plugin; the message says why."""


@dataclass(frozen=True)
class Finding:
    """What a check came to.

    Attributes:
        check: Its name, in words.
        outcome: "not checked" where the check does not apply.
        why: What failed, or why it was not checked; empty if it passed.
        place: ``path:line: source`` of what raised: the plugin's last line on the way there, if it has one. Empty
            where a check compared what the plugin returned.
        traceback: Of a failure.
        cause: What findings of one cause share.
    """

    check: str
    outcome: Verdict
    why: str = ""
    place: str = ""
    traceback: str = ""
    cause: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the check was made and the plugin passed it."""
        return self.outcome == "passed"


def finding_of(
    name: str,
    check: Callable[[], None],
    plugin: type,
    users_fault: type[UsageError] | tuple[()] = UsageError,
) -> Finding:
    """Return what a check of a plugin's class comes to.

    Args:
        name: The check's, in words.
        check: Raises what it finds.
        plugin: The class.
        users_fault: What is no finding: that the settings or the images do not suit the plugin.

    Raises:
        UsageError: If ``users_fault`` has it and ``check`` raises it.
    """
    try:
        check()
    except UncheckedError as reason:
        return Finding(name, "not checked", str(reason), cause=("not checked", str(reason)))
    except KeyboardInterrupt:
        raise
    except users_fault:
        raise
    except BaseException as error:  # what exits is a failure too
        return _failure(name, error, plugin)
    return Finding(name, "passed")


def by_cause(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings in order, those of one cause together; each that passed stands alone."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.cause or ("passed", finding.check), []).append(finding)
    return list(groups.values())


def _failure(name: str, error: BaseException, plugin: type) -> Finding:
    """Return the finding of an error; errors of one kind from one line of the plugin have one cause."""
    frames = list(zip(traceback.extract_tb(error.__traceback__), _modules(error), strict=True))
    own = [frame for frame, module in frames if _package(module) == _package(plugin.__module__)]
    foreign = [] if isinstance(error, PluginError) else [frame for frame, _ in frames]
    place = _shown((own or foreign)[-1]) if own or foreign else ""
    words = traceback.format_exception_only(error)  # also of an error whose own words fail
    why = str(error) if isinstance(error, PluginError) else "".join(words).strip()
    cause = ("FAILED", type(error).__qualname__, place if own else why)
    return Finding(name, "FAILED", why, place, "".join(traceback.format_exception(error)), cause)


def _modules(error: BaseException) -> list[Any]:  # any file may call itself anything
    return [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)]


def _package(module: Any) -> str:
    """Return the package whose files are a plugin's own; of a single file, its module."""
    return str(module).partition(".")[0]


def _shown(frame: traceback.FrameSummary) -> str:
    return f"{frame.filename}:{frame.lineno}: {frame.line}"
