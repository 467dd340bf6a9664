"""Messages between the two sides of a trial: a JSON object and arrays of numbers, never a pickle."""

import json
import math
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfp_bench.errors import PluginError

Message: TypeAlias = dict[str, Any]
"""What JSON can hold; text that comes from a plugin has to be looked at before it is used."""

Arrays: TypeAlias = list[NDArray[Any]]

DTYPES = ("uint8", "int64", "float32", "float64")
"""What arrays may consist of."""

_LENGTH = struct.Struct("<I")
_DIMENSIONS = 4


class ClosedError(Exception):
    """The other side has ended, or closed its end."""


class Channel:
    """One end of a connection. What the other end sends is held to limits before any memory is taken for it."""

    def __init__(self, end: socket.socket, *, longest: int = 2**16, largest: int = 2**31) -> None:
        """Wrap a connected stream socket.

        Args:
            end: The socket.
            longest: Bytes that the JSON object of a message may have.
            largest: Bytes that its arrays may have in all.
        """
        self._end, self._longest, self._largest = end, longest, largest

    def send(self, message: Message, *arrays: NDArray[Any]) -> None:
        """Send an object and arrays.

        Raises:
            ClosedError: If nobody listens any longer.
        """
        described = [{"dtype": array.dtype.name, "shape": array.shape} for array in arrays]
        content = json.dumps(message | {"arrays": described}).encode()
        try:
            self._end.sendall(_LENGTH.pack(len(content)) + content)
            for array in arrays:
                self._end.sendall(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise ClosedError from error

    def receive(self) -> tuple[Message, Arrays]:
        """Wait for a message.

        Raises:
            ClosedError: If the other side has ended.
            PluginError: If what came is none.
        """
        (length,) = _LENGTH.unpack(self._read(bytearray(_LENGTH.size)))
        if length > self._longest:
            raise PluginError(f"a message of {length} bytes came, expected at most {self._longest}")
        try:
            message = json.loads(self._read(bytearray(length)))
            described = message.pop("arrays")
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
            raise PluginError(f"a message came that cannot be read ({type(error).__name__})") from error
        return message, [self._array(dtype, shape) for dtype, shape in self._shapes(described)]

    def _shapes(self, described: Any) -> list[tuple[str, Sequence[int]]]:  # JSON of any form
        shapes = [_shape(one) for one in described] if isinstance(described, list) and len(described) <= 2 else None
        if shapes is None or None in shapes:
            raise PluginError(
                f"a message came with arrays described by {str(described)[:100]!r}, expected dtype, shape"
            )
        found = [shape for shape in shapes if shape is not None]
        if (size := sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in found)) > self._largest:
            raise PluginError(f"arrays of {size} bytes came for one batch, expected at most {self._largest}")
        return found

    def _array(self, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
        array: NDArray[Any] = np.empty(shape, dtype)
        self._read(array.reshape(-1).view(np.uint8))
        return array

    def _read(self, buffer: Any) -> Any:  # a writable buffer of bytes, which is returned full
        rest = memoryview(buffer)
        while len(rest):
            try:
                count = self._end.recv_into(rest)
            except OSError as error:
                raise ClosedError from error
            if not count:
                raise ClosedError
            rest = rest[count:]
        return buffer


def _shape(described: Any) -> tuple[str, Sequence[int]] | None:  # JSON of any form
    """Return the dtype and the shape that a description has, or None."""
    match described:
        case {"dtype": str(dtype), "shape": list(shape)} if dtype in DTYPES and len(shape) <= _DIMENSIONS:
            if all(type(side) is int and 0 <= side < 2**40 for side in shape):
                return dtype, shape
    return None


def fields(message: Mapping[str, Any], **kinds: type) -> list[Any]:
    """Return some fields of a message in order.

    Raises:
        PluginError: If one is missing or of another kind.
    """
    for name, kind in kinds.items():
        if type(message.get(name)) is not kind:
            raise PluginError(f"a message came whose {name!r} is {str(message.get(name))[:100]!r}, expected {kind}")
    return [message[name] for name in kinds]
