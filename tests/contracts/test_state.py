import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import save_file

from gfp_bench import load_state, save_state
from gfp_bench.errors import RecordError

NUMBERS = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
)
ARRAYS = arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, min_side=0, max_side=3))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | ARRAYS
    | ARRAYS.map(lambda array: torch.from_numpy(array.astype(array.dtype.newbyteorder("="))))
)
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, np.ndarray):
        return left.dtype.newbyteorder("=") == right.dtype and np.array_equal(
            left, right, equal_nan=left.dtype.kind == "f"
        )
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and same(left.numpy(), right.numpy())
    return left == right or left != left


@given(STATES)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "state"
    save_state(path, state)
    assert same(state, load_state(path))


@pytest.mark.parametrize(
    ("given", "loaded"),
    [
        (np.float32(1.5), 1.5),
        (np.int64(7), 7),
        (np.array([True])[0], True),
        (torch.Size([2, 3]), (2, 3)),
        ({"a/b": torch.tensor(1), "a": {"b": torch.tensor(2)}}, {"a/b": torch.tensor(1), "a": {"b": torch.tensor(2)}}),
        ({1: torch.tensor(1), "1": torch.tensor(2)}, {1: torch.tensor(1), "1": torch.tensor(2)}),
        (torch.arange(6).reshape(2, 3).T[:, ::2], torch.tensor([[0], [1], [2]])),
        (torch.ones(2, dtype=torch.bfloat16, requires_grad=True), torch.ones(2, dtype=torch.bfloat16)),
    ],
)
def test_what_becomes_of_other_values(tmp_path: Path, given: Any, loaded: Any) -> None:
    save_state(tmp_path / "state", given)
    restored = load_state(tmp_path / "state")
    assert str(restored) == str(loaded)
    assert type(restored) is type(loaded)


def test_optimisers_can_be_kept(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters(), betas=(0.0, 0.99))
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    save_state(tmp_path / "state", optimiser.state_dict())
    assert str(load_state(tmp_path / "state")) == str(optimiser.state_dict())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, {2}]}, "/a/1 is set"),
        (object(), "/ is object"),
        ({"names": np.array(["x"])}, "/names is ndarray <U1"),
        ([np.longdouble([1.0])], "/0 is ndarray float128"),
        ([np.datetime64("2020-01-01")], "/0 is datetime64"),
        ([torch.eye(2).to_sparse()], "/0 is Tensor torch.float32"),
        ({(1, 2): 3}, "/ is dict"),
        ({"network": torch.nn.Linear(1, 1)}, "/network is Linear"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_place(tmp_path: Path, state: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"state at {message}.* expected dense tensors"):
        save_state(tmp_path / "state", state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [0, 5, 40, -10])
def test_a_damaged_file_is_named(tmp_path: Path, length: int) -> None:
    path = tmp_path / "state"
    save_state(path, {"weights": torch.ones(30)})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RecordError, match=rf"state file {path} is damaged \(.*\); delete it and run again"):
        load_state(path)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"state": "{"}, {"state": json.dumps({"a": 1, "b": 2})}, {"state": '{"tensor": "9"}'}]
)
def test_a_file_of_another_origin_is_named(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"0": torch.ones(1)}, tmp_path / "state", metadata=metadata)
    with pytest.raises(RecordError, match="is damaged"):
        load_state(tmp_path / "state")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_state(path, 1)
    with pytest.raises(TypeError):
        save_state(path, {1, 2})
    assert load_state(path) == 1
    with pytest.raises(FileNotFoundError):
        save_state(tmp_path / "missing" / "state", 1)
