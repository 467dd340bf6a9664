"""The contract checks: what every method, attack and generator must hold, tried on a few small images.

A check is a function that raises when the contract is broken; its name, in words, is the finding's. The essential ones
come first: once one of them fails the others mean nothing and are left out.
"""

import inspect
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

from gfp_bench.checks import attacks, generators, methods
from gfp_bench.checks.candidate import NotCheckedError, Subject, no_network
from gfp_bench.checks.candidate import Splits as Splits
from gfp_bench.checks.candidate import synthetic as synthetic
from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.settings import Setting
from gfp_bench.errors import PluginError, UsageError

Check = Callable[[Any], None]  # of a plugin's subject


@dataclass(frozen=True)
class Finding:
    """What a check came to.

    Attributes:
        check: Its name.
        outcome: Whether the contract is kept; what could not be tried is neither passed nor failed.
        why: What failed, or why it could not be tried; empty if it passed.
        where: The last line of the plugin's own file that ran before it failed, as ``path:line: source``, or "".
        cause: The same for all findings that one mistake brings about.
        traceback: Of the failure, whole.
    """

    check: str
    outcome: Literal["passed", "failed", "not checked"] = "passed"
    why: str = ""
    where: str = ""
    cause: str = ""
    traceback: str = ""

    @property
    def passed(self) -> bool:
        """Whether the contract is kept."""
        return self.outcome == "passed"


def check_method(
    cls: type[Method], settings: Mapping[str, Setting] | None = None, data: Splits | None = None
) -> list[Finding]:
    """Return what the contract checks of a method find.

    Args:
        cls: The method.
        settings: Those that differ from the defaults, as text or values.
        data: What to fit and score; small synthetic images by default.

    Raises:
        UsageError: If a setting is unknown or has a value that does not fit.
    """
    subject = methods.MethodSubject(cls, settings or {}, data or synthetic())
    later = () if cls.partial_fit is Method.partial_fit else (methods.later_source,)
    return list(_findings(subject, methods.ESSENTIAL, (*methods.FURTHER, *later)))


def check_attack(
    cls: type[Perturbation], settings: Mapping[str, Setting] | None = None, data: Splits | None = None
) -> list[Finding]:
    """Return what the contract checks of an attack find on the test images; otherwise like `check_method`."""
    subject = attacks.AttackSubject(cls, settings or {}, data or synthetic(per_source=24))
    return list(_findings(subject, attacks.ESSENTIAL, attacks.FURTHER))


def check_generator(
    cls: type[Generator], settings: Mapping[str, Setting] | None = None, data: Splits | None = None
) -> list[Finding]:
    """Return what the contract checks of a generator find.

    One that comes trained, as a setting ``path`` and a refused training show, is loaded from its ``path`` if that is
    given; whatever cannot be tried is a finding that says so.

    Args:
        cls: The generator.
        settings: Those that differ from the defaults, as text or values.
        data: Its training images are the pool; small synthetic images by default.

    Raises:
        UsageError: If a setting is unknown or has a value that does not fit, or the generator refuses the pool.
    """
    subject = generators.GeneratorSubject(cls, settings or {}, data or synthetic(per_source=24, size=16))
    return list(_findings(subject, generators.ESSENTIAL, generators.FURTHER))


def _findings(subject: Subject[Any], essential: Sequence[Check], further: Sequence[Check]) -> Iterator[Finding]:
    with _no_network(subject.attempts):
        for check in essential:
            finding = _finding(check, subject, users_fault=UsageError)
            yield finding
            if finding.outcome == "failed":
                return
        for check in (*further, no_network):  # what refuses only now has taken the settings and the images before
            yield _finding(check, subject)


def _finding(check: Check, subject: Subject[Any], users_fault: type[UsageError] | tuple[()] = ()) -> Finding:
    name = check.__name__.replace("_", " ")
    try:
        check(subject)
    except users_fault:
        raise
    except NotCheckedError as error:
        return Finding(name, "not checked", why=str(error), cause=str(error))
    except (Exception, SystemExit) as error:
        return _failure(name, subject.cls, error)
    return Finding(name)


def _failure(name: str, cls: type, error: BaseException) -> Finding:
    """Return the finding for an error of a check's own, which names what is wrong, or of the plugin's, with its place.

    One mistake has one place: several checks that end in the same line do so for the same reason.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == inspect.getsourcefile(cls)]
    whole = "".join(traceback.format_exception(error))
    if isinstance(error, PluginError) and not own:
        return Finding(name, "failed", str(error), cause=str(error), traceback=whole)
    place, last = (own or frames)[-1], frames[-1]
    why = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
    where = f"{place.filename}:{place.lineno}: {place.line}"
    cause = f"{type(error).__name__} {where} {last.filename}:{last.lineno}"
    return Finding(name, "failed", why, where, cause, whole)


@contextmanager
def _no_network(attempts: list[str]) -> Iterator[None]:
    """Refuse connections and note what was asked for; sockets between local processes are left alone."""
    connect = socket.socket.connect

    def refuse(*address: object, **_: object) -> None:
        attempts.append(":".join(map(str, address[:2])))
        raise OSError(f"no network while a plugin is checked: {attempts[-1]}")

    def guarded(self: socket.socket, address: Any) -> None:  # whatever the family takes
        connect(self, address) if self.family == socket.AF_UNIX else refuse(*address)

    with patch.object(socket.socket, "connect", guarded), patch.object(socket, "getaddrinfo", refuse):
        yield
