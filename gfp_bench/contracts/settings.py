"""A plugin's settings: values that JSON and the command line can write, and how both are read. Torch-free."""

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, Union, cast

from gfp_bench.errors import PluginError, UsageError, unknown

Setting: TypeAlias = bool | int | float | str | None

_SPEC = re.compile(r"\s*(?P<name>[^\[\]\s]+)\s*(\[(?P<settings>[^\[\]]*)\])?\s*")


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
        UsageError: If a setting is unknown or its value does not fit.
        PluginError: If the plugin's own signature breaks the contract.
    """
    parameters = _parameters(cls)
    if strange := sorted(set(given) - set(parameters)):
        raise unknown(f"{getattr(cls, 'name', cls.__qualname__)} setting", strange[0], parameters)
    resolved = {}
    for name, parameter in sorted(parameters.items()):
        value = given.get(name, parameter.default)
        try:
            resolved[name] = _converted(value, parameter.annotation)
        except ValueError as error:
            raise UsageError(f"setting {name!r} of {_label(cls)} got {value!r}, expected {error}") from None
    return resolved


def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of ``__init__``, each known to have a name, an allowed type and a default of it."""
    parameters = inspect.signature(cls, eval_str=True).parameters
    for name, parameter in parameters.items():
        if problem := _problem(parameter):
            raise PluginError(f"setting {name!r} of {_label(cls)} {problem}")
    return parameters


def _problem(parameter: inspect.Parameter) -> str | None:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        return "has no name of its own, expected a keyword argument"
    if parameter.annotation is parameter.empty or not all(map(_is_allowed, _options(parameter.annotation))):
        shown = "no annotation" if parameter.annotation is parameter.empty else f"the type {parameter.annotation}"
        return f"has {shown}, expected bool, int, float, str, None, a Literal or a union of these"
    if parameter.default is parameter.empty:
        return "has no default, expected the paper's value"
    try:
        _converted(parameter.default, parameter.annotation)
    except ValueError as error:
        return f"has the default {parameter.default!r}, expected {error}"
    return None


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
        ValueError: If none does; the message has the options.
    """
    options = sorted(_options(annotation), key=lambda option: option is str)
    for option in options:
        try:
            return _READERS[option](value) if option in _READERS else _literal(value, option)
        except ValueError:
            continue
    raise ValueError(" or ".join(option.__name__ if isinstance(option, type) else repr(option) for option in options))


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
    if not isinstance(value, str):
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
    return repr(getattr(cls, "name", cls.__qualname__))
