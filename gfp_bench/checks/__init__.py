"""The contract checks: what every method, attack and generator must hold, tried on a few small images.

A check is a function that raises when the contract is broken; its name, in words, is the finding's. The essential ones
come first: once one of them fails the others mean nothing and are left out.
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any
from unittest.mock import patch

from gfp_bench.checks import attacks, generators, methods
from gfp_bench.checks.candidate import Splits as Splits
from gfp_bench.checks.candidate import Subject, no_network
from gfp_bench.checks.candidate import synthetic as synthetic
from gfp_bench.checks.findings import Finding as Finding
from gfp_bench.checks.findings import by_cause as by_cause
from gfp_bench.checks.findings import finding_of
from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.settings import Setting
from gfp_bench.errors import UsageError

Check = Callable[[Any], None]  # of a plugin's subject


def found_in(cls: type, settings: Mapping[str, Setting]) -> list[dict[str, Any]]:
    """Return what the contract checks of a plugin's kind find, as JSON can hold it: the fields of each `Finding`.

    Raises:
        UsageError: If a setting is unknown or has a value that does not fit.
    """
    check: Any = check_generator  # each of its kind
    if issubclass(cls, Method):
        check = check_method
    elif issubclass(cls, Perturbation):
        check = check_attack
    return [asdict(finding) for finding in check(cls, settings)]


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
            if finding.outcome == "FAILED":
                return
        for check in (*further, no_network):  # settings and images suit the plugin: what it refuses now is its fault
            yield _finding(check, subject)


def _finding(check: Check, subject: Subject[Any], users_fault: type[UsageError] | tuple[()] = ()) -> Finding:
    return finding_of(check.__name__.replace("_", " "), partial(check, subject), subject.cls, users_fault)


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
