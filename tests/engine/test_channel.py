"""Messages between the two sides of a trial: what is sent comes back, what is none is refused."""

import json
import pickle
import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from gfp_bench.engine.channel import Channel, ClosedError, fields
from gfp_bench.errors import PluginError


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    first, second = socket.socketpair()
    with first, second:
        yield first, second


def framed(message: object) -> bytes:
    content = json.dumps(message).encode()
    return struct.pack("<I", len(content)) + content


def test_what_is_sent_comes_back(ends: tuple[socket.socket, socket.socket]) -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3).T, np.empty((0, 4), dtype=np.int64)]
    Channel(ends[0]).send({"say": "answer", "text": "\udcff"}, *arrays)
    message, found = Channel(ends[1]).receive()
    assert message == {"say": "answer", "text": "\udcff"}
    for array, other in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(array, other)
        assert array.dtype == other.dtype


ARRAY = {"dtype": "float32", "shape": [2, 3]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps(print) * 3, "a message of .* bytes came, expected at most 65536"),
        (struct.pack("<I", 5) + b"hello", "a message came that cannot be read"),
        (framed([1, 2]), "a message came that cannot be read"),
        (framed({"say": "answer"}), "a message came that cannot be read"),
        (struct.pack("<I", 60000) + b"[" * 60000, "a message came that cannot be read"),
        (framed({"arrays": [{"dtype": "object", "shape": [2]}]}), "a message came with arrays described by"),
        (framed({"arrays": [{"dtype": "complex64", "shape": [2]}]}), "a message came with arrays described by"),
        (framed({"arrays": [{"dtype": "uint8", "shape": [-1]}]}), "a message came with arrays described by"),
        (framed({"arrays": [{"dtype": "uint8", "shape": [True]}]}), "a message came with arrays described by"),
        (framed({"arrays": [{"dtype": "uint8", "shape": [1] * 5}]}), "a message came with arrays described by"),
        (framed({"arrays": [ARRAY] * 3}), "a message came with arrays described by"),
        (framed({"arrays": 7}), "a message came with arrays described by"),
        (framed({"arrays": [{"dtype": "float64", "shape": [2**39, 2**39]}]}), "arrays of .* bytes came for one batch"),
        (framed({"arrays": [ARRAY, ARRAY]}), "arrays of 48 bytes came for one batch, expected at most 40"),
    ],
)
def test_what_is_no_message_is_refused(ends: tuple[socket.socket, socket.socket], content: bytes, reason: str) -> None:
    ends[0].sendall(content)
    with pytest.raises(PluginError, match=reason):
        Channel(ends[1], largest=40).receive()


@pytest.mark.parametrize("cut", [0, 3, 20, -1])
def test_the_end_of_the_other_side_is_told(ends: tuple[socket.socket, socket.socket], cut: int) -> None:
    whole = framed({"arrays": [ARRAY]}) + bytes(24)
    ends[0].sendall(whole[:cut])
    ends[0].close()
    with pytest.raises(ClosedError):
        Channel(ends[1]).receive()
    with pytest.raises(ClosedError):
        Channel(ends[1]).send({}, np.zeros(10**6, dtype=np.uint8))


def test_fields_have_their_kinds() -> None:
    assert fields({"step": 1, "total": 2}, step=int, total=int) == [1, 2]
    for wrong in ({}, {"step": True}, {"step": "1"}, {"step": None}):
        with pytest.raises(PluginError, match="'step' is"):
            fields(wrong, step=int)
