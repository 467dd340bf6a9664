"""What a user can mend. Anything else keeps its traceback."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class GfpBenchError(Exception):
    """A problem whose message says what, which value, what was expected and what to do."""


class UsageError(GfpBenchError):
    """A request that names something that does not exist or cannot be."""


class SettingError(UsageError, ValueError):
    """A setting that a plugin does not have, or a value that the setting does not take."""


class DatasetError(GfpBenchError):
    """A dataset whose files, manifest or index are not what they should be."""


class PluginError(GfpBenchError):
    """A plugin that breaks its contract."""


class RecordError(GfpBenchError):
    """A stored result that is damaged or does not belong."""


class MachineError(GfpBenchError):
    """What is no plugin's fault: no space is left, or a file that was there when the run was planned has changed."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a ``name`` that is not among ``known``, with its nearest matches."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(repr(match) for match in near)}?"
        if near
        else f"known: {', '.join(names) or 'none'}"
    )
    return UsageError(f"unknown {kind} {name!r}; {hint}")


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return where two tables of plain values differ, as ``key value, expected value``, by key; inner tables alike."""
    told = []
    for key in sorted({*found, *expected}):
        before, now = found.get(key, "nothing"), expected.get(key, "nothing")
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            told.append(f"{key}: {differences(before, now)}")
        else:
            told.append(f"{key} {before}, expected {now}")
    return "; ".join(told)
