"""A trial's process: start it, listen, end it when a limit passes, say what became of it; and what it runs inside."""

import faulthandler
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from gfp_bench.apart import (
    end_group,
    end_with_server,
    exit_reason,
    has_lost_server,
    reason,
    server,
    server_pid,
    started,
)
from gfp_bench.engine.blame import is_machines
from gfp_bench.engine.events import Error, Event, Stake, Timing
from gfp_bench.engine.records import FailureKind
from gfp_bench.engine.trial import Job, execute

_POLL = 0.5  # seconds between two looks at the limits
_LOG_HEAD, _LOG_TAIL = 1_000_000, 100_000  # bytes kept of what a trial prints

_STACK = signal.SIGUSR1  # at which a trial prints the stacks of its threads
_LAST_WORDS = 2.0  # seconds that a trial past its limit has to say where it stands

Heard: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True)
class Limits:
    """Seconds that a trial may take in all, and without a sign of life."""

    wall: float
    idle: float


@dataclass
class Ending:
    """How a process ended.

    Attributes:
        status: ``done`` if it came to its end; ``machine`` if it could not, through no plugin's fault; ``orphaned`` if
            the fork server was killed under it.
        reason: What went wrong, for people.
        stake: Keys of the cells that the step in hand would have given.
        timing: Seconds by step inside plugins, wall seconds in all, peak memory in bytes.
    """

    status: Literal["done", "machine", "orphaned"] | FailureKind = "failed"
    reason: str = ""
    stake: tuple[str, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)


def supervise(job: Job, limits: Limits, log: Path, heard: Heard, stop: threading.Event) -> Ending:
    """Run a job in a process of its own and return how it ended; when ``stop`` is set, end it.

    Processes come from the fork server of `warm_up`. What they print goes to ``log``, its middle left out when it is
    long.
    """
    context = server()
    events, their_events = context.Pipe()
    output, their_output = context.Pipe(duplex=False)
    begun = time.monotonic()
    process = started(main, job, their_events, their_output)
    parent = server_pid()
    their_events.close()
    their_output.close()
    assert process.pid is not None  # noqa: S101 - it was started
    watch = _Watch(events, output, process.sentinel, heard)
    try:
        limit = watch.until_end(begun, limits, stop)
        if limit:
            watch.ask_for_stack(process.pid)
    finally:
        end_group(process.pid)
        process.join()
        watch.close(log)
    ending = watch.ending
    ending.timing["wall"] = time.monotonic() - begun
    if limit:
        ending.status, ending.reason = "timeout", limit
    elif process.exitcode == 0 and watch.finished:
        ending.status = "done"
    elif not ending.reason:
        ending.reason = exit_reason(process.exitcode)
        if has_lost_server(process, parent):
            ending.status, ending.reason = "orphaned", "it killed its parent process, which all trials come from"
    return ending


def warm_up() -> None:
    """Start the fork server and wait until it has loaded what every trial needs, the built-in plugins included."""
    started(int).join()


class _Watch:
    """Listens to a process: what happens, and what it prints."""

    def __init__(self, events: Connection, output: Connection, sentinel: int, heard: Heard) -> None:
        self._events, self._output, self._sentinel, self._heard = events, output, sentinel, heard
        self._head, self._tail, self._printed = bytearray(), bytearray(), 0
        self.ending = Ending()
        self.finished = False

    def until_end(self, started: float, limits: Limits, stop: threading.Event) -> str | None:
        """Listen until the process ends, a limit passes (returned in words) or ``stop`` is set."""
        alive = time.monotonic()
        sources: list[Any] = [self._events, self._output, self._sentinel]
        while not stop.is_set():
            ready = connection.wait(sources, timeout=_POLL)
            if self._events in ready:
                alive = time.monotonic()
                if not self._hear():
                    sources.remove(self._events)
            if self._output in ready and not self._read():
                sources.remove(self._output)
            if self._sentinel in ready and not (self._events in ready or self._output in ready):
                return None
            now = time.monotonic()
            if now - started > limits.wall:
                return f"took longer than {limits.wall:g} s (wall limit; --timeout)"
            if now - alive > limits.idle:
                return f"gave no sign of life for {limits.idle:g} s (idle limit; --idle-timeout)"
        return None

    def ask_for_stack(self, pid: int) -> None:
        """Have a process that hangs print where, and read it."""
        with suppress(ProcessLookupError):
            os.kill(pid, _STACK)
        until = time.monotonic() + _LAST_WORDS
        while connection.wait([self._output], timeout=max(0.0, until - time.monotonic())) and self._read():
            until = min(until, time.monotonic() + _LAST_WORDS / 4)  # it comes at once and whole

    def _hear(self) -> bool:
        try:
            event: Event = self._events.recv()
        except (EOFError, OSError):
            return False
        match event:
            case Stake(keys):
                self.ending.stake = keys
            case Error(reason, machine):
                self.ending.reason = reason
                self.ending.status = "machine" if machine else "failed"
            case Timing(seconds):
                self.ending.timing = seconds
                self.finished = True
        self._heard(event)
        return True

    def _read(self) -> bool:
        block = os.read(self._output.fileno(), 2**16)
        self._printed += len(block)
        room = _LOG_HEAD - len(self._head)
        self._head += block[:room]
        self._tail += block[max(0, room) :]
        del self._tail[:-_LOG_TAIL]
        return bool(block)

    def close(self, log: Path) -> None:
        """Keep the log if there is any, and close the pipes."""
        left_out = self._printed - len(self._head) - len(self._tail)
        gap = f"\n... {left_out} bytes left out ...\n".encode() if left_out else b""
        if self._printed:
            with suppress(OSError):  # a full disk must not hide what the trial itself has to say
                log.write_bytes(bytes(self._head) + gap + bytes(self._tail))
        self._events.close()
        self._output.close()


def main(job: Job, events: Connection, log: Connection) -> None:
    """Run a job in a fresh process; output goes to ``log``, what happens (an `Error` at a bad end) to ``events``."""
    os.setsid()  # so that whatever a plugin starts can be ended with it
    end_with_server()
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    faulthandler.enable()
    faulthandler.register(_STACK, all_threads=True)
    threading.Thread(target=_die_with_runner, args=(events,), daemon=True).start()
    if job.memory and job.device == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    try:
        execute(job, events.send)
    except BaseException as error:
        traceback.print_exc()
        events.send(Error(reason(error), is_machines(error)))
        _leave(1)
    _leave(0)


def _leave(code: int) -> NoReturn:
    """End the process without taking torch apart first, which only takes time: all files are closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _die_with_runner(events: Connection) -> None:
    """End this process when the runner's end of the pipe closes, so that a killed run leaves no one behind."""
    try:
        events.recv()
    except (EOFError, OSError):
        os._exit(1)
