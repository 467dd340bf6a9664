"""A part of a board shows less, and nothing on it is other than on the whole."""

import re

import pytest

from gfp_bench.boards.assembly import board_of
from gfp_bench.boards.board import Board
from gfp_bench.boards.formats import csv, latex, markdown
from gfp_bench.boards.ranking import Standing, standings
from gfp_bench.boards.selection import selected, split_names
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.plan import Plan
from gfp_bench.engine.records import Store
from gfp_bench.errors import UsageError

Whole = tuple[Board, list[Standing]]


@pytest.fixture
def whole(plan: Plan, toy: Manifest, store: Store) -> Whole:
    board = board_of(plan, {toy.name: toy}, store)
    return board, standings(board)


def cells(text: str, row: str) -> list[str]:
    line = next(line for line in text.splitlines() if f"`{row}`" in line and line.startswith("|"))
    return [re.sub(r" \(note \d+\)", "", cell).strip() for cell in line.split("|")]


def test_all_is_the_whole(whole: Whole) -> None:
    assert selected(*whole)[0] == whole[0] or markdown(*selected(*whole)) == markdown(*whole)
    assert csv(*selected(*whole)) == csv(*whole)


def test_rows_and_columns_keep_their_numbers(whole: Whole) -> None:
    part = markdown(*selected(*whole, methods=["knn"], columns=["jpeg"]))
    assert set(cells(part, "knn")) <= set(cells(markdown(*whole), "knn"))
    assert len(cells(part, "knn")) == len(cells(markdown(*whole), "knn")) - 3
    assert (
        "- Left out: `chance`, `majority`, `octaves`, `thumbnail`, noise, blur, crop. Ranks, intervals and marks are"
        in part
    )
    assert "| `thumbnail`" not in part


def test_every_form_shows_the_part(whole: Whole) -> None:
    part = selected(*whole, columns=["jpeg"], floors=False)
    lines = csv(*part).splitlines()
    assert set(lines[1:]) < set(csv(*whole).splitlines())
    assert len(lines) == 1 + 4  # clean and attacked, as fitted and immunised
    assert "thumbnail &" not in latex(*part)
    assert "noise &" not in latex(*part)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ["kn"]}, "unknown row 'kn'; did you mean 'knn'?"),
        ({"columns": ["jpg"]}, "unknown column 'jpg'; did you mean 'jpeg'?"),
    ],
)
def test_what_is_not_there_is_refused(whole: Whole, asked: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        selected(*whole, **asked)  # type: ignore[arg-type]  # either of two lists


def test_commas_in_brackets_separate_settings() -> None:
    assert split_names("a, b[c=1,d=2],e") == ["a", "b[c=1,d=2]", "e"]
    assert split_names("") == []
