"""Code that is not trusted runs in a process of its own: within a limit, with an explicit end, and JSON comes back.

The process is forked from this one, which has loaded what it needs and must not run other threads. In between stands a
guard: whoever kills its parent kills that.
"""

import ctypes
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection
from typing import Any, NoReturn

from gfp_bench.errors import GfpBenchError, PluginError, UsageError
from gfp_bench.texts import clean

_LARGEST = 2**24  # bytes of an answer
_PR_SET_PDEATHSIG = 1  # its number in prctl.h


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even if it holds the interpreter."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group(pid: int) -> None:
    """Kill a process that leads a session, and whatever it started in that."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def exit_reason(code: int | None) -> str:
    """Return in words how a process ended that has not said it was done."""
    if code is not None and code < 0:
        hint = " (the machine may have run out of memory)" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    return f"exited with code {code} before it was done"


def apart(work: Callable[..., Any], *arguments: object, limit: float) -> Any:  # any JSON
    """Return what ``work(*arguments)`` returns in a process of its own, whose output is dropped.

    Args:
        work: What returns something that JSON can hold.
        arguments: What it is called with.
        limit: Seconds that it may take.

    Raises:
        UsageError: If ``work`` raises one.
        PluginError: If it raises anything else, exits, is killed, says nothing or takes too long; the reason is clean,
            and a note has the traceback.
    """
    (reader, writer), (end, ended) = os.pipe(), os.pipe()
    if not (guard := os.fork()):
        _guard(work, arguments, writer, ended)
    os.close(writer)
    os.close(ended)
    alive = os.pidfd_open(guard)
    try:
        content = _read(reader, alive, time.monotonic() + limit)
    finally:
        end_group(guard)
        os.waitpid(guard, 0)
        told = os.read(end, 16)
        for descriptor in (reader, end, alive):
            os.close(descriptor)
    if content is None:
        raise PluginError(f"it took longer than {limit:g} s")
    if len(content) == _LARGEST:
        raise PluginError(f"it said more than {_LARGEST} bytes")
    if content.endswith(b"\n"):
        return _told(content)
    raise PluginError(exit_reason(int(told)) if told else "it killed its parent process")


def _guard(work: Callable[..., object], arguments: tuple[object, ...], writer: int, ended: int) -> NoReturn:
    """Have the work done by another process, wait for it and tell how it ended."""
    try:
        os.setsid()
        die_with_parent()
        if not (worker := os.fork()):
            os.close(ended)
            die_with_parent()
            _answer(work, arguments, writer)
        os.close(writer)
        _, status = os.waitpid(worker, 0)
        os.write(ended, str(os.waitstatus_to_exitcode(status)).encode())
    finally:
        os._exit(0)


def _read(reader: int, sentinel: int, until: float) -> bytes | None:
    """Return what a process writes, up to the end of a line or its own, or None if time is up."""
    content = bytearray()
    sources: list[Any] = [reader, sentinel]
    while (left := until - time.monotonic()) > 0:
        ready = connection.wait(sources, timeout=left)
        if reader in ready:
            block = os.read(reader, 2**20)
            content += block
            if content.endswith(b"\n") or len(content) > _LARGEST:
                return bytes(content[:_LARGEST])
            if not block:  # closed; whoever did that still has to end
                sources.remove(reader)
        elif sentinel in ready:
            return bytes(content)
    return None


def _told(content: bytes) -> Any:  # any JSON
    """Return the value of an answer, or raise the error that it tells."""
    try:
        answer = json.loads(content)
        if "value" in answer:
            return answer["value"]
        error = (UsageError if answer["usage"] is True else PluginError)(clean(answer["reason"]))
        error.add_note(str(answer["traceback"]))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as reason:
        raise PluginError("it answered with what is no answer of ours") from reason
    raise error


def _answer(work: Callable[..., object], arguments: tuple[object, ...], writer: int) -> NoReturn:
    """Do the work and write the answer as one line."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.closerange(3, writer)  # what is open here is none of its business
    os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
    try:
        answer = json.dumps({"value": work(*arguments)}, default=_kind)
    except BaseException as error:
        told = traceback.format_exception(error)
        usage = isinstance(error, UsageError)
        answer = json.dumps({"usage": usage, "reason": reason(error), "traceback": "".join(told)})
    left = answer.encode() + b"\n"
    while left:
        left = left[os.write(writer, left) :]
    os._exit(0)


def _kind(value: object) -> dict[str, str]:
    """Return what stands in JSON for what it cannot hold, such that no type that we expect takes it."""
    return {"type": type(value).__name__}


def reason(error: BaseException) -> str:
    """Return in one clean line what went wrong: our own errors in their words, others with their type before."""
    words = clean(str(error))
    return words if isinstance(error, GfpBenchError) and words else f"{type(error).__name__}: {words}".rstrip(": ")
