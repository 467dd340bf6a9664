"""A plugin's settings: what they are and may be, and how the command line, files and Python give them. Torch-free.

A setting is a keyword argument of ``__init__``. Its annotation says what it may be and, inside ``Annotated``, what it
is: ``k: Annotated[int | None, "voters; none: chosen on validation images", Ge(1)] = 5``. Bounds are those of the
package annotated-types and hold for numbers alone. What one setting asks of another, ``__init__`` refuses itself, with
a ValueError.
"""

import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, cast

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MultipleOf

from gfp_bench.errors import PluginError, SettingError, UsageError, unknown

Setting: TypeAlias = bool | int | float | str | None

_SPEC = re.compile(r"\s*(?P<name>[^\[\]\s]+)\s*(\[(?P<settings>[^\[\]]*)\])?\s*")
_BOUNDS: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {  # attribute, test, words
    Gt: ("gt", lambda value, bound: value > bound, "above"),
    Ge: ("ge", lambda value, bound: value >= bound, "at least"),
    Lt: ("lt", lambda value, bound: value < bound, "below"),
    Le: ("le", lambda value, bound: value <= bound, "at most"),
    MultipleOf: ("multiple_of", lambda value, bound: value % bound == 0, "a multiple of"),
}


@dataclass(frozen=True)
class SettingFacts:
    """What is known of a setting: its default, what it may be in words, and what it is."""

    name: str
    default: Setting
    expected: str
    explanation: str


class Configurable:
    """A class whose settings are checked however it is made: from the command line, from a file or in Python."""

    def __init__(self) -> None:
        """Take no settings; a class that has some has an ``__init__`` of its own."""
        super().__init__()

    def __init_subclass__(cls, **options: Any) -> None:  # whatever a mix-in takes
        """Put the check of the settings before every ``__init__``, so that no plugin has to write it."""
        super().__init_subclass__(**options)
        init = cls.__init__
        if "__init__" in vars(cls) or init is Configurable.__init__:
            setattr(cls, "__init__", _checking(cls, init))  # noqa: B010 - mypy refuses to assign a method


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Return the name and the settings, still as text, of ``name[key=value,key=value]``.

    Raises:
        UsageError: If ``spec`` is not of that form or gives a setting twice.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UsageError(f"{spec!r} is no plugin's name; expected name or name[key=value,key=value]")
    settings: dict[str, str] = {}
    for item in filter(str.strip, (match["settings"] or "").split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not key or not equals or key in settings:
            raise UsageError(f"{spec!r} has the setting {item.strip()!r}; expected key=value, each key once")
        settings[key] = value
    return match["name"], settings


def resolved_settings(cls: type, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return all settings of a plugin by name in sorted order: those ``given``, the defaults for the rest.

    Text is read as the type that the parameter of ``__init__`` is annotated with; ``none`` is None where None may be.

    Raises:
        SettingError: If a setting is unknown or its value does not fit.
        PluginError: If the plugin's own signature breaks the contract.
    """
    return _resolved(_label(cls), _parameters(cls), given)


def described_settings(cls: type) -> list[SettingFacts]:
    """Return what is known of each setting of a plugin, in the order of its signature.

    Raises:
        PluginError: If the plugin's own signature breaks the contract.
    """
    facts = []
    for name, parameter in _parameters(cls).items():
        annotation, notes = _split(parameter.annotation)
        words = " ".join(note for note in notes if isinstance(note, str))
        default = _converted(parameter.default, parameter.annotation)
        facts.append(SettingFacts(name, default, _expectation(annotation, notes), words))
    return facts


def _checking(cls: type, init: Callable[..., None]) -> Callable[..., None]:
    """Return ``__init__`` such that settings arrive resolved, and that what it refuses is a `SettingError`."""

    @functools.wraps(init)
    def checked(self: object, *values: Setting, **given: Setting) -> None:
        label, parameters = _label(type(self)), _parameters(cls)
        places = [name for name, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        named = dict(zip(places, values, strict=False))
        if len(values) > len(places) or named.keys() & given.keys():
            init(self, *values, **given)  # which raises Python's own TypeError
        settings = _resolved(label, parameters, {**named, **given})
        try:
            init(self, **settings)
        except SettingError:
            raise
        except ValueError as error:
            if settings == _resolved(label, parameters, {}):
                raise PluginError(f"{label!r} refuses its own defaults: {error}") from error
            raise SettingError(f"{label!r}: {error}") from error

    return checked


def _resolved(
    label: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Setting]
) -> dict[str, Setting]:
    if strange := sorted(set(given) - set(parameters)):
        raise SettingError(str(unknown(f"{label} setting", strange[0], parameters)))
    resolved = {}
    for name, parameter in sorted(parameters.items()):
        value = given.get(name, parameter.default)
        try:
            resolved[name] = _converted(value, parameter.annotation)
        except ValueError as error:
            raise SettingError(f"setting {name!r} of {label!r} got {value!r}, expected {error}") from None
    return resolved


@functools.cache
def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of ``__init__``, each known to have a name, an allowed type and a default of it."""
    parameters = inspect.signature(cls, eval_str=True).parameters
    for name, parameter in parameters.items():
        if problem := _problem(parameter):
            raise PluginError(f"setting {name!r} of {_label(cls)!r} {problem}")
    return parameters


def _problem(parameter: inspect.Parameter) -> str | None:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        return "has no name of its own, expected a keyword argument"
    annotation, notes = _split(parameter.annotation)
    if annotation is parameter.empty or not all(map(_is_allowed, _options(annotation))):
        shown = "no annotation" if annotation is parameter.empty else f"the type {annotation}"
        return f"has {shown}, expected bool, int, float, str, None, a Literal or a union of these"
    if strange := [note for note in notes if not isinstance(note, str) and type(note) not in _BOUNDS]:
        known = ", ".join(kind.__name__ for kind in _BOUNDS)
        return f"has the note {strange[0]!r}, expected text or a bound of annotated_types: {known} or Interval"
    if parameter.default is parameter.empty:
        return "has no default, expected the paper's value"
    try:
        _converted(parameter.default, parameter.annotation)
    except ValueError as error:
        return f"has the default {parameter.default!r}, expected {error}"
    return None


def _split(annotation: object) -> tuple[object, list[object]]:
    """Return an annotation and what is noted beside it: its explanation, and bounds one by one."""
    if typing.get_origin(annotation) is not Annotated:
        return annotation, []
    bare, *notes = typing.get_args(annotation)
    return bare, [one for note in notes for one in (note if isinstance(note, GroupedMetadata) else (note,))]


def _options(annotation: object) -> list[object]:
    """Return what a union or ``Literal`` is made of: types, None and literal values."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [option for part in typing.get_args(annotation) for option in _options(part)]
    if typing.get_origin(annotation) is Literal:
        return list(typing.get_args(annotation))
    return [None] if annotation is type(None) else [annotation]


def _is_allowed(option: object) -> bool:
    return option is None or isinstance(option, str | int) or option in (bool, int, float, str)


def _converted(value: object, annotation: object) -> Setting:
    """Return ``value`` as the first option of the annotation that takes it; any text is a ``str``, so that comes last.

    Raises:
        ValueError: If none does, or a number is out of bounds; the message has the options.
    """
    bare, notes = _split(annotation)
    for option in sorted(_options(bare), key=lambda option: option is str):
        try:
            found = _READERS[option](value) if option in _READERS else _literal(value, option)
        except ValueError:
            continue
        if option in (int, float) and not all(_holds(found, note) for note in notes):
            continue
        return found
    raise ValueError(_expectation(bare, notes))


def _holds(value: Setting, note: object) -> bool:
    if type(note) not in _BOUNDS:
        return True
    attribute, test, _ = _BOUNDS[type(note)]
    return test(value, getattr(note, attribute))


def _expectation(annotation: object, notes: list[object]) -> str:
    """Return in words what a setting may be."""
    bounds = {type(note): getattr(note, _BOUNDS[type(note)][0]) for note in notes if type(note) in _BOUNDS}
    words = " and ".join(f"{_BOUNDS[kind][2]} {bound}" for kind, bound in bounds.items())
    if bounds.keys() == {Ge, Le}:
        words = f"from {bounds[Ge]} to {bounds[Le]}"
    options = []
    for option in _options(annotation):
        name = option.__name__ if isinstance(option, type) else repr(option)
        options.append(f"{name} {words}".rstrip() if option in (int, float) else name)
    return " or ".join(options)


def _to_none(value: object) -> None:
    if value is not None and not (isinstance(value, str) and value.lower() == "none"):
        raise ValueError


def _to_bool(value: object) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower())
    if not isinstance(value, bool):
        raise ValueError
    return value


def _to_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    return int(value)


def _to_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _to_str(value: object) -> str:
    if not isinstance(value, str) or not " ".join(value.split()).isprintable():  # it becomes part of titles and tables
        raise ValueError
    return value


def _literal(value: object, option: object) -> Setting:
    if isinstance(value, bool) or (value != option and value != str(option)):
        raise ValueError
    return cast(Setting, option)  # _is_allowed saw to it


_READERS: dict[object, Callable[[object], Setting]] = {
    None: _to_none,
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
}


def _label(cls: type) -> str:
    return str(getattr(cls, "name", cls.__qualname__))
