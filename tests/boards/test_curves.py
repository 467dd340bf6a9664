"""Curves of synthetic boards: what is drawn, where names stand, and what their digest notices."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import LinearConstraint, minimize

from gfp_bench.boards import curves
from gfp_bench.boards.board import Board, Result
from gfp_bench.boards.curves import apart, digest_of, lines
from gfp_bench.boards.ranking import standings
from gfp_bench.contracts.task import Outcome, Shown
from gfp_bench.engine.plan import Row
from gfp_bench.protocols.protocol import Ladder
from gfp_bench.tasks import load_task

LABELS = np.arange(40) % 2
SHOWN = Shown(labels=LABELS, groups=np.arange(40), sources=("a", "b"))
LADDERS = (
    Ladder(name="jpeg", vary=("low", "high"), severities=(90, 50), axis="quality"),
    Ladder(name="noise", vary=("low", "high"), severities=(2,), axis="deviation"),
)
ATTACKS = ("jpeg-90", "jpeg-50", "noise-2")
SHARES = {"knn": (0.9, 0.8, 0.6, 0.7), "late": (0.8, 0.6, 0.5, 0.5), "thumbnail": (0.6, 0.55, 0.5, 0.5)}


def png(board: Board) -> bytes:
    return curves.png(board, standings(board))


def digest(board: Board) -> str:
    return curves.digest(board, standings(board))


def row_of(title: str, *, floor: bool = False) -> Row:
    return Row(title=title, method=title, settings={}, floor=floor)


def cell(row: str, attack: str, share: float) -> Result:
    """A result that is right on a share of each source's images."""
    correct = np.repeat(np.arange(20) < round(20 * share), 2)
    empty = {"n": 2, "d": 2, "fdr": None, "fdr_equal": None, "permuted_low": None, "permuted_high": None, "reason": "-"}
    metrics = {"balanced_accuracy": float(correct.mean())}
    outcome = Outcome(kept={"answer": np.where(correct, LABELS, 1 - LABELS)}, shown=SHOWN, known=SHOWN.sources)
    place = {"row": row, "condition": "clean", "column": attack, "seed": 0}
    return Result(**place, status="done", outcome=outcome, metrics=metrics, separability=empty)


@pytest.fixture
def board() -> Board:
    """Two contenders, one of which lost its harshest JPEG, and a floor."""
    cells = [
        cell(row, attack, share)
        for row, shares in SHARES.items()
        for attack, share in zip(("clean", *ATTACKS), shares, strict=True)
        if (row, attack) != ("late", "jpeg-50")
    ]
    return Board(
        dataset="toy", digest="0" * 64, protocol="steps@1", draft=False, task=load_task("attribution"),
        shown=SHOWN, columns=("clean", *ATTACKS), rows=tuple(row_of(row, floor=row == "thumbnail") for row in SHARES),
        results=(
            *cells,
            Result(row="late", condition="clean", column="jpeg-50", seed=0, status="timeout", reason="slow"),
        ), provenance=(), rederive="",
        ladders=LADDERS, figure="toy-steps@1.png",
    )  # fmt: skip


def accuracies(board: Board, ladder: Ladder) -> dict[str, list[float | None]]:
    return {line.title: [point and point[0] for point in line.points] for line in lines(ladder, standings(board))}


def test_lines_begin_clean_and_have_gaps_where_cells_are_missing(board: Board) -> None:
    assert accuracies(board, LADDERS[0]) == {
        "knn": [90.0, 80.0, 60.0],
        "late": [80.0, 60.0, None],
        "thumbnail": [60.0, 55.0, 50.0],
    }
    assert accuracies(board, LADDERS[1])["late"] == [80.0, 50.0]
    for line in lines(LADDERS[0], standings(board)):
        assert all(low <= accuracy <= high for accuracy, low, high in filter(None, line.points))


def test_a_method_without_any_point_is_left_out(board: Board) -> None:
    without = replace(board, rows=(*board.rows, row_of("new")))
    assert list(accuracies(without, LADDERS[0])) == ["knn", "thumbnail", "late"], "in the order of the board"
    png(without)


def test_equal_boards_are_equal_pictures(board: Board, tmp_path: Path) -> None:
    drawn = png(board)
    assert drawn == png(replace(board, rows=board.rows[::-1], results=board.results[::-1]))
    path = tmp_path / "curves.png"
    path.write_bytes(drawn)
    assert digest_of(path) == digest(board)
    with Image.open(io.BytesIO(drawn)) as image:
        assert set(image.info) == {"Source", "dpi"}, "no date and no version"
        assert image.width == 1440


def test_what_is_drawn_is_in_the_digest(board: Board) -> None:
    other = cell("knn", "noise-2", 0.75)
    changed = [
        replace(board, results=(*(one for one in board.results if one.row + one.column != "knnnoise-2"), other)),
        replace(board, rows=(*board.rows[:2], row_of("thumbnail"))),
        replace(board, ladders=(LADDERS[0], LADDERS[1].model_copy(update={"axis": "variance"}))),
        replace(board, dataset="other"),
    ]
    assert len({digest(one) for one in (board, *changed)}) == 5
    assert digest(replace(board, digest="1" * 64)) == digest(board)


def test_a_picture_that_is_not_ours_has_no_digest(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    assert digest_of(path) == ""
    for content in (b"", b"no picture", png(board)[:-3000]):
        path.write_bytes(content)
        assert digest_of(path) == ""
    Image.new("RGB", (4, 4)).save(path)
    assert digest_of(path) == ""


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.floats(0.1, 8))
def test_names_stand_apart_and_inside(values: list[float], gap: float) -> None:
    places = np.array(apart(sorted(values), gap))
    assert np.all(np.diff(places) >= gap - 1e-9)
    assert places.min() >= -1e-9
    assert places.max() <= 100 + 1e-9


@pytest.mark.parametrize("values", [[7.0, 7.0, 7.1, 60.0], [0.0, 1.0, 50.0, 50.0, 51.0], [98.0, 99.0, 100.0]])
def test_names_move_as_little_as_they_must(values: list[float]) -> None:
    gap, count = 5.0, len(values)
    rising = LinearConstraint(np.diff(np.eye(count), axis=0), gap, np.inf)
    start = np.linspace(0, 100, count)
    best = minimize(
        lambda places: np.sum((places - values) ** 2), start, method="SLSQP", bounds=[(0, 100)] * count,
        constraints=rising, tol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(apart(values, gap), best.x, atol=1e-3)
