"""Documents: TOML that people write and JSON that programs leave, read back with errors in the project's words.

Torch-free.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from gfp_bench.errors import GfpBenchError, RecordError, unknown


class Document(BaseModel):
    """A table of a document: every key is known, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_Document = TypeVar("_Document", bound=Document)
_Content = TypeVar("_Content")


def read_document(
    file: Path, model: type[_Document], *, kind: str, error: type[GfpBenchError], otherwise: str
) -> _Document:
    """Return the document in a TOML file.

    Args:
        file: The file.
        model: What it holds.
        kind: What it is called, as ``manifest``.
        error: What is raised.
        otherwise: What to do if it cannot be read.

    Raises:
        GfpBenchError: If the file is missing, is no TOML, or has a key or value that the model does not have; of the
            type ``error``.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as reason:
        raise error(f"{kind} {file} cannot be read: {reason.strerror}; {otherwise}") from reason
    except ValueError as reason:  # TOML or UTF-8
        raise error(f"{kind} {file} is no TOML file: {reason}; mend it") from reason
    return checked(content, model, subject=f"{kind} {file}", error=error)


def checked(
    content: object,  # any TOML or JSON
    model: type[_Content],
    *,
    subject: str,
    error: type[GfpBenchError],
) -> _Content:
    """Return some content as a document or a dataclass; raises as `read_document`, with all that is wrong with it.

    Args:
        content: The content.
        model: What it holds.
        subject: What errors call it.
        error: What is raised.

    Raises:
        GfpBenchError: If the model has no such keys or values; of the type ``error``.
    """
    if unknown_keys := _unknown_keys(content, model):
        raise error(f"{subject}: {'; '.join(unknown_keys)}")
    try:
        found: _Content = _adapter(model).validate_python(content)  # type: ignore[arg-type]  # classes are hashable
        return found
    except ValidationError as reason:
        problems = "; ".join(
            _problem(model, detail["loc"], detail["type"], detail["msg"], detail["input"]) for detail in reason.errors()
        )
        raise error(f"{subject}: {problems}") from reason


@cache
def _adapter(model: Any) -> Any:  # beartype knows no TypeAdapter[...]
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    return adapter


def _unknown_keys(content: object, model: type) -> list[str]:
    """Return a sentence for each key that a dataclass does not have, which pydantic would pass over."""
    if not is_dataclass(model) or not isinstance(content, Mapping):
        return []
    names = [field.name for field in fields(model)]
    return [str(unknown("key", str(key), names)) for key in content if key not in names]


def read_json(file: Path) -> Any:  # whatever its writer put there
    """Return what a JSON file holds, or None if there is none.

    Raises:
        RecordError: If it is damaged, which includes numbers that JSON does not have.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:  # JSON or UTF-8
        raise RecordError(f"{file} is no valid JSON ({error}); delete it and run again") from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _problem(model: type, place: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    """Return one of pydantic's findings in the words of the project."""
    key = ".".join(map(str, place)) or "the document"
    if kind == "extra_forbidden":
        *table, _ = place
        return str(unknown("key", key, [".".join(map(str, [*table, name])) for name in _table(model, table)]))
    if kind == "missing":
        return f"key {key!r} is missing; add it"
    got = "" if isinstance(value, dict) else f" = {value!r}"  # a whole table says nothing
    message = message.removeprefix("Value error, ")
    return f"{key}{got}: {message[0].lower()}{message[1:]}"


def _table(model: type[BaseModel], place: Sequence[int | str]) -> dict[int | str, FieldInfo]:
    """Return the fields, by the keys that documents have, of the table at a place below a model."""
    found: Any = model  # then what each part of the place is annotated with
    for part in place:
        found = _fields(found)[part].annotation if hasattr(found, "model_fields") else _inner(found)
        if NoneType in get_args(found):
            found = _inner(found)
    return _fields(found)


def _fields(model: type[BaseModel]) -> dict[int | str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _inner(annotation: Any) -> Any:  # a type, as ``typing`` sees it
    """Return what the values of a dict, the items of a tuple or list, or an optional value are annotated with."""
    return [part for part in get_args(annotation) if part not in (NoneType, Ellipsis)][-1]
