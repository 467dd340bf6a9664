"""The fork server that trials come from: launched again when a plugin has killed it, and ended with the runner.

It has loaded what every trial needs, so that a trial's process starts in a few hundredths of a second.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess

from gfp_bench.apart import die_with_parent

_PRELOAD = ["gfp_bench.engine.preload"]
_UNKNOWN = 255  # what Python makes of the exit code of a process whose parent died before it
_STARTS = 3  # how often a process is tried to be started


def server() -> ForkServerContext:
    """Return the context whose processes come from the fork server, which is launched if it does not run."""
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


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
    die_with_parent()
