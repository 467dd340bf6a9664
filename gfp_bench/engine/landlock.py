"""Landlock, with which a Linux process gives up access to files for good, for itself and whatever it starts.

Source: the kernel's own documentation, Documentation/userspace-api/landlock.rst, and include/uapi/linux/landlock.h.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, the same numbers on every architecture
_VERSION = 1  # the flag at which the first of them returns the kernel's version instead of a rule set
_PATH_BENEATH = 1  # the kind of a rule
_NO_NEW_PRIVILEGES = 38  # prctl's number; the kernel asks for it before a process may restrict itself

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # rights that a rule on a file may give
_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights over files there are, by version
_TCP = 0b11  # binding and connecting, from version 4
_SCOPED = 0b11  # abstract sockets and signals of processes outside, from version 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # what a packed structure has; Python 3.14 wants it said
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


@cache
def landlock_version() -> int:
    """Return the version of Landlock that the kernel offers, from 1; 0 where there is none or it is off."""
    return max(0, _call(_CREATE_RULESET, None, 0, _VERSION))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """Leave this process, and what it starts, some files and folders alone; what it has open stays open.

    Beyond files it loses, where the kernel can: TCP (from version 4), abstract sockets of and signals to processes
    that are not restricted with it (6). The kernel then also refuses to let it trace these.

    Args:
        readable: What may be read and executed, with all that is beneath; what does not exist is passed over.
        writable: What may be written besides.

    Returns:
        The kernel's version of Landlock; 0 where there is none, and nothing is restricted then.

    Raises:
        OSError: If the kernel has Landlock and refuses.
    """
    if not (version := landlock_version()):
        return 0
    everything = (1 << _FILES.get(version, _FILES[5])) - 1
    rules = _Ruleset(everything, _TCP if version >= 4 else 0, _SCOPED if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _checked(_call(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    try:
        for path in readable:
            _allow(ruleset, path, _READ & everything)
        for path in writable:
            _allow(ruleset, path, everything)
        _checked(
            ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3)
        )
        _checked(_call(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        rule = _Beneath(rights, descriptor)
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    words = (ctypes.c_long(value) if isinstance(value, int) else value for value in (number, *arguments))
    result: int = ctypes.CDLL(None, use_errno=True).syscall(*words)
    return result


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result
