"""Plugin files that are odd before any image is seen: at import, when they register, declare, are made or asked."""

_METHOD = """
import os, signal, sys, threading, time
from gfp_bench import Method, UsageError, hookimpl
{before}

@hookimpl
def register_methods(register):
    {register}

class Odd({bases}):
    name, paper, version, stochastic = "{name}", "", 1, False
    {inside}

    def fit(self, train, val, *, rng, monitor=None): ...
    def scores(self, images): ...
    {after}
"""


def odd_method(
    name: str,
    before: str = "",
    inside: str = "",
    after: str = "",
    register: str = "register(Odd)",
    bases: str = "Method",
) -> str:
    """Return the code of a plugin file with one method."""
    return _METHOD.format(name=name, before=before, inside=inside, after=after, register=register, bases=bases)


IMPORTED = {  # what becomes of a file that does not come so far as to register: its code, and why it is set aside
    "exits-at-import": ({"before": "os._exit(0)"}, "exited with code 0 before it was done"),
    "refuses-at-import": ({"before": "raise UsageError('you')"}, "UsageError"),
    "interrupts": ({"before": "raise KeyboardInterrupt"}, "KeyboardInterrupt"),
    "twice": ({"register": "register(Odd); register(Odd)"}, "two plugins are named 'twice'"),
    "ten-thousand": ({"register": "[register(Odd) for _ in range(10000)]"}, "registers more than 1000 classes"),
    "bool-version": ({"inside": "version = True"}, "has the version True, expected an integer from 1"),
    "huge-version": ({"inside": "version = 10**5000"}, "ValueError: Exceeds the limit"),
    "property-name": ({"inside": "name = property(lambda self: 'x')"}, "has the name"),
    "floor-text": ({"inside": "floor = 'yes'"}, "neither True nor False"),
    "long-" + 60 * "n": ({}, "at most 64 of them"),
    "recursive": (
        {
            "before": "class R:\n    def __repr__(self): return repr(self)",
            "inside": "name = R()",
        },
        "RecursionError",
    ),
    "meta": (
        {
            "before": "class Meta(type(Method)):\n    def __getattribute__(cls, name): raise OSError(28, 'No space')",
            "bases": "Method, metaclass=Meta",
        },
        "OSError",
    ),
}

MADE = {  # what becomes of a method that registers: its code, and why its row failed
    "exits-when-made": ({"inside": "def __init__(self): os._exit(0)"}, "exited with code 0 before it was done"),
    "refuses-when-made": ({"inside": "def __init__(self): raise UsageError('you')"}, "you"),
    "refuses-defaults": ({"inside": "def __init__(self): raise ValueError('k')"}, "refuses its own defaults: k"),
    "skips-true": ({"after": "def skip(self, dataset): return True"}, "skips.0 = True"),
    "skips-empty": ({"after": "def skip(self, dataset): return ''"}, "skips.0 = ''"),
    "no-paper": ({"inside": "paper = None"}, "paper = None"),
    "raising-paper": (
        {"before": "class D:\n    def __get__(self, *_): raise SystemExit(0)", "inside": "paper = D()"},
        "SystemExit: 0",
    ),
    "stochastic-text": ({"inside": "stochastic = 'no'"}, "stochastic = 'no'"),
    "weights-text": ({"inside": "weights = 'scratch | 99.9'"}, "weights = 'scratch | 99.9'"),
    "one-deviation": ({"inside": "deviations = 'abc'"}, "deviations = 'abc'"),
    "any-setting": ({"inside": "def __init__(self, **kw): pass"}, "setting 'kw'"),
    "list-setting": ({"inside": "def __init__(self, o: list = []): pass"}, "setting 'o'"),
    "odd-setting": ({"inside": r"def __init__(self, o: str = '\udc80'): pass"}, "setting 'o'"),
    "another-name": ({"inside": "def __init__(self): self.name = 'knn'"}, "calls itself 'knn'"),
}

SLOW = {  # what takes its time: likewise
    "hangs-at-import": ({"before": "time.sleep(600)"}, "it took longer than"),
    "kills-at-import": ({"before": "os.kill(os.getppid(), 9); time.sleep(5)"}, "it killed its parent process"),
    "hangs-when-asked": ({"after": "def skip(self, dataset): time.sleep(600)"}, "it took longer than"),
}
