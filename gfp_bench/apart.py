"""Code that is not trusted runs in a process of its own: within a limit, with an explicit end, and JSON comes back.

Processes come from a fork server, which has loaded what they need, so that one starts in a few hundredths of a second.
"""

import ctypes
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, NoReturn

from gfp_bench.errors import GfpBenchError, PluginError, UsageError
from gfp_bench.texts import clean

_PRELOAD = ["gfp_bench.engine.preload"]
_LARGEST = 2**24  # bytes of an answer
_PR_SET_PDEATHSIG = 1  # its number in prctl.h
_UNKNOWN = 255  # what Python makes of the exit code of a process whose parent died before it
_STARTS = 3  # how often a process is tried to be started


def server() -> ForkServerContext:
    """Return the context whose processes come from the fork server, which is launched if it does not run."""
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def launch_server() -> None:
    """Launch the fork server, if it does not run, without waiting until it has loaded everything."""
    server()
    forkserver.ensure_running()


def started(target: Callable[..., object], *arguments: object) -> ForkServerProcess:
    """Return a process that has been started; a fork server that was killed is launched again."""
    for left in reversed(range(_STARTS)):
        process = server().Process(target=target, args=arguments, daemon=True)
        try:
            process.start()
        except (EOFError, OSError):  # it died while it was asked
            if not left:
                raise
            time.sleep(0.1)
        else:
            return process
    raise AssertionError("unreachable")


def server_pid() -> int | None:
    """Return the fork server's process, or None before it was launched."""
    return forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined,no-any-return]  # Python tells it nowhere


def is_gone(pid: int | None) -> bool:
    """Return whether a fork server has died, without taking its exit status from whoever waits for it."""
    if pid is None:
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it was waited for, or is the child of another process
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            return False
        return True


def has_lost_server(process: ForkServerProcess, pid: int | None) -> bool:
    """Return whether a process has ended because the fork server ``pid`` was killed, as far as one can tell.

    Its exit code is then unknown, and its pipes close a moment before the death can be told.
    """
    until = time.monotonic() + 1.0
    while process.exitcode == _UNKNOWN:
        if is_gone(pid):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return False


def end_with_server() -> None:
    """Have this process, a child of the fork server, die with that, and that with the runner, whatever either does.

    Otherwise a child that holds the interpreter outlives a killed runner, and keeps the fork server alive.
    """
    kept = forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]  # the end that keeps it alive
    if kept is not None:
        os.close(kept)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
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
        work: A function of a module; what it returns must be such that JSON can hold it.
        arguments: Pickled on their way there; nothing is unpickled on the way back.
        limit: Seconds that it may take.

    Raises:
        UsageError: If ``work`` raises one.
        PluginError: If it raises anything else, exits, is killed, says nothing or takes too long; the reason is clean,
            and a note has the traceback.
    """
    reader, writer = connection.Pipe(duplex=False)
    process = started(_answer, work, arguments, writer)
    parent = server_pid()
    writer.close()
    assert process.pid is not None  # noqa: S101 - it was started
    try:
        content = _read(reader, process.sentinel, time.monotonic() + limit)
    finally:
        end_group(process.pid)
        process.join()
        reader.close()
    if content is None:
        raise PluginError(f"it took longer than {limit:g} s")
    if len(content) == _LARGEST:
        raise PluginError(f"it said more than {_LARGEST} bytes")
    if content.endswith(b"\n"):
        return _told(content)
    if has_lost_server(process, parent):
        raise PluginError("it killed its parent process")
    raise PluginError(exit_reason(process.exitcode))


def _read(reader: Connection, sentinel: int, until: float) -> bytes | None:
    """Return what a process writes, up to the end of a line or its own, or None if time is up."""
    content = bytearray()
    sources: list[Any] = [reader, sentinel]
    while (left := until - time.monotonic()) > 0:
        ready = connection.wait(sources, timeout=left)
        if reader in ready:
            block = os.read(reader.fileno(), 2**20)
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


def _answer(work: Callable[..., object], arguments: tuple[object, ...], writer: Connection) -> NoReturn:
    """Do the work in a fresh process and write the answer as one line."""
    os.setsid()
    end_with_server()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        answer = json.dumps({"value": work(*arguments)}, default=_kind)
    except BaseException as error:
        told = traceback.format_exception(error)
        usage = isinstance(error, UsageError)
        answer = json.dumps({"usage": usage, "reason": reason(error), "traceback": "".join(told)})
    left = answer.encode() + b"\n"
    while left:
        left = left[os.write(writer.fileno(), left) :]
    os._exit(0)


def _kind(value: object) -> dict[str, str]:
    """Return what stands in JSON for what it cannot hold, such that no type that we expect takes it."""
    return {"type": type(value).__name__}


def reason(error: BaseException) -> str:
    """Return in one clean line what went wrong: our own errors in their words, others with their type before."""
    words = clean(str(error))
    return words if isinstance(error, GfpBenchError) and words else f"{type(error).__name__}: {words}".rstrip(": ")
