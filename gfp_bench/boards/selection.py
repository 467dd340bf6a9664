"""A part of a board: some rows, some columns. Statistics stay those of the whole. Torch-free."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gfp_bench.boards.board import Board
from gfp_bench.boards.ranking import Standing
from gfp_bench.contracts.task import CLEAN
from gfp_bench.engine.plan import Row
from gfp_bench.errors import unknown


def selected(
    board: Board,
    found: Sequence[Standing],
    *,
    methods: Sequence[str] = (),
    columns: Sequence[str] = (),
    floors: bool = True,
) -> tuple[Board, list[Standing]]:
    """Return a board and its `standings` with some rows and columns left out.

    Ranks, intervals, marks and ties are those of the whole board: what is left out still competes, so that a part
    that is chosen cannot make a row look better than it is. A remark says what is left out.

    Args:
        board: The whole board.
        found: Its standings.
        methods: Rows by title, or all rows of a method by its name; all rows by default.
        columns: Attacks and ladders by label, beside the first column, which ranks; all by default.
        floors: Whether floors are shown, where no methods are named.

    Raises:
        UsageError: If there is no such row or column.
    """
    rows = [row for row in board.rows if _chosen(row, methods, floors)]
    for name in methods:
        if not any(name in (row.title, row.method) for row in board.rows):
            raise unknown("row", name, {name for row in board.rows for name in (row.title, row.method)})
    labels = [*board.single_columns, *(ladder.label for ladder in board.ladders)]
    for name in columns:
        if name not in (*labels, board.first[1]):
            raise unknown("column", name, labels)
    ladders = tuple(ladder for ladder in board.ladders if not columns or ladder.label in columns)
    steps = {attack for ladder in ladders for attack in ladder.attacks}
    kept = tuple(
        column
        for column in board.columns
        if not columns or column == board.first[1] or column in columns or column in steps
    )
    titles = {row.title for row in rows}
    part = replace(
        board,
        rows=tuple(rows),
        columns=kept,
        ladders=ladders,
        results=tuple(
            result
            for result in board.results
            if result.row in titles and result.column in kept and result.condition in (CLEAN, *kept)
        ),
        remarks=(*board.remarks, *_left_out(board, rows, kept)),
    )
    places = {result.place for result in part.results}
    standings = [
        replace(one, results={place: results for place, results in one.results.items() if place in places})
        for one in found
        if one.row.title in titles
    ]
    return part, standings


def split_names(text: str) -> list[str]:
    """Return the names in ``a,b[c=1,d=2]``: commas in brackets separate settings."""
    return [name.strip() for name in re.split(r",(?![^\[]*\])", text) if name.strip()]


def _chosen(row: Row, methods: Sequence[str], floors: bool) -> bool:
    return row.title in methods or row.method in methods if methods else floors or not row.floor


def _left_out(board: Board, rows: Iterable[Row], columns: Sequence[str]) -> list[str]:
    """Return what a part does not show of a board, in a sentence, if there is something."""
    shown = {row.title for row in rows}
    without = [f"`{row.title}`" for row in board.rows if row.title not in shown]
    without += [column for column in board.columns if column not in columns]
    if not without:
        return []
    return [
        f"Left out: {', '.join(without)}. Ranks, intervals and marks are those of the whole board, where they compete."
    ]
