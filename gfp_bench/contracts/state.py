"""Nested state <-> one safetensors file: what methods, generators and checkpoints are saved as. Never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gfp_bench.errors import RecordError
from gfp_bench.files import write_atomically

State: TypeAlias = Any
"""None, bool, int, float, str, Tensor, ndarray, or a list, tuple or dict (keys: str, int) of these: hence ``Any``."""

_ARRAYS = "biuf"  # NumPy's kinds of numbers that safetensors has


def save_state(path: Path, state: State) -> None:
    """Write ``state`` to ``path``, complete or not at all.

    Raises:
        TypeError: If a value is none of those that `State` names; the message has its place.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_skeleton(state, "", tensors))
    write_atomically(path, save(tensors, metadata={"state": skeleton}))


def load_state(path: Path, device: torch.device | str = "cpu") -> State:
    """Return what `save_state` wrote, its tensors on ``device``.

    Raises:
        RecordError: If the file is damaged or was written by something else.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            skeleton = json.loads(file.metadata()["state"])
            return _filled(skeleton, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a dict
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"state file {path} is damaged ({error}); delete it and run again") from error


def _skeleton(value: State, place: str, tensors: dict[str, Tensor]) -> Any:  # JSON of any depth
    """Return ``value`` as JSON, its arrays moved into ``tensors`` and numbered."""
    number = str(len(tensors))
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor(layout=torch.strided) if value.dtype != torch.complex128:
            tensors[number] = value.detach().contiguous().cpu().clone()  # safetensors refuses shared storage
            return {"tensor": number}
        case np.ndarray() if value.dtype.kind in _ARRAYS and value.dtype.itemsize <= 8:
            tensors[number] = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
            return {"array": number}
        case np.bool_() | np.integer() | np.floating():
            return value.item()
        case list() | tuple():
            items = [_skeleton(item, f"{place}/{index}", tensors) for index, item in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": items}
        case Mapping() if all(isinstance(key, str | int) for key in value):
            return {"dict": [[key, _skeleton(item, f"{place}/{key}", tensors)] for key, item in value.items()]}
    kind = f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()
    raise TypeError(
        f"state at {place or '/'} is {kind}, expected dense tensors and arrays of numbers, numbers, text, "
        "or lists and dicts (keys: text, int) of these"
    )


def _filled(skeleton: Any, tensors: dict[str, Tensor]) -> State:
    if not isinstance(skeleton, dict):
        return skeleton
    ((kind, content),) = skeleton.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "array":
            return tensors[content].cpu().numpy()
        case "list":
            return [_filled(item, tensors) for item in content]
        case "tuple":
            return tuple(_filled(item, tensors) for item in content)
        case "dict":
            return {key: _filled(item, tensors) for key, item in content}
    raise KeyError(kind)
