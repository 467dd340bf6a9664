"""Accuracy against severity as a picture: one panel per ladder, one line per method. Torch-free.

Fonts and smoothing differ between versions of matplotlib, so equal pixels cannot be asked for. The file carries the
digest of what it shows instead, by which a picture that is not its board's is found.
"""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfp_bench.boards.board import Board
from gfp_bench.boards.ranking import Estimate, Standing
from gfp_bench.contracts.task import CLEAN
from gfp_bench.protocols.protocol import Ladder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_DIGEST = "Source"  # the keyword of the PNG's text that holds it
_WIDTH, _DPI = 9.0, 160  # inches; shown at the width of a page, 9 points are then 11 pixels
_PANELS = 2  # side by side
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito's
_DASHES = ("-", "--", ":")
_MARKERS = ("o", "s", "^", "D", "v")
_FLOOR, _INK = "#8C8C8C", "#262626"
_TITLE = 26  # characters of a title that there is room for
_LABEL = 0.15  # inches between the titles of two lines
_STYLE = {
    "font.family": "DejaVu Sans",  # matplotlib brings it
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E5E5E5",
}
_Looks = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Line:
    """One method on one ladder.

    Attributes:
        title: The method.
        floor: Whether it is a mark to be above.
        points: Balanced accuracy and both ends of its interval in percent, clean first; None where cells are missing.
    """

    title: str
    floor: bool
    points: tuple[tuple[float, float, float] | None, ...]


def lines(ladder: Ladder, found: Iterable[Standing]) -> list[Line]:
    """Return the methods that have at least one point, in the order of the board."""
    drawn = []
    for standing in found:
        estimates = [standing.estimates.get((CLEAN, attack)) for attack in (CLEAN, *ladder.attacks)]
        line = Line(standing.row.title, standing.row.floor, tuple(map(_point, estimates)))
        drawn += [line] if any(line.points) else []
    return drawn


def _point(estimate: Estimate | None) -> tuple[float, float, float] | None:
    if estimate is None:
        return None
    accuracy, low, high = (round(100 * value, 3) for value in (estimate.value, estimate.low, estimate.high))
    return accuracy, low, high


def digest(board: Board, found: Sequence[Standing]) -> str:
    """Return the sha256 of all that the picture of a board, whose `standings` are given, shows."""
    panels = [_facts(ladder) | {"lines": list(map(asdict, lines(ladder, found)))} for ladder in board.ladders]
    shown = {"board": _title(board), "chance": len(board.shown.sources), "panels": panels}
    return sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _facts(ladder: Ladder) -> dict[str, Any]:
    severities = list(map(str, ladder.severities))
    return {"title": ladder.label, "axis": ladder.axis, "severities": severities, "attacks": ladder.attacks}


def digest_of(path: Path) -> str:
    """Return the digest that a picture carries, or "" if it is missing, damaged or not ours."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return str(image.info.get(_DIGEST, ""))
    except (OSError, SyntaxError, ValueError):  # what Pillow raises on bad bytes
        return ""


def png(board: Board, found: Sequence[Standing]) -> bytes:
    """Return the picture of a board with ladders, the same bytes for the same board and matplotlib."""
    import matplotlib.style
    from matplotlib.figure import Figure

    looks = _looks(found)
    drawn = [lines(ladder, found) for ladder in board.ladders]
    rows = -(-len(drawn) // _PANELS)
    height = max(2.6, _LABEL * len(found) + 0.9)
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure((_WIDTH, rows * height + 0.7), dpi=_DPI, layout="constrained")
        _write(figure, board)
        panels = [figure.add_subplot(rows, _PANELS, number) for number in range(1, len(drawn) + 1)]
        for panel, ladder, own in zip(panels, board.ladders, drawn, strict=True):
            _draw(panel, ladder, own, looks, 100 * board.task.chance(board.shown))
        labels = [_label(panel, own) for panel, own in zip(panels, drawn, strict=True)]
        figure.draw_without_rendering()  # gives panels their places
        for panel, own, names in zip(panels, drawn, labels, strict=True):
            _lead(panel, own, names, looks)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None, _DIGEST: digest(board, found)})
    return buffer.getvalue()


def _write(figure: "Figure", board: Board) -> None:
    title = f"{_title(board)}: {board.task.measures[0].title} in percent"
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium", fontweight="bold")
    legend = (
        "Mild to harsh from left to right; bands: 95 % intervals over images and seeds; grey: floors; dotted: chance"
    )
    figure.supxlabel(legend, x=0.01, ha="left", fontsize="small")


def _title(board: Board) -> str:
    return f"{board.dataset}, {board.protocol}"


def _looks(found: Sequence[Standing]) -> _Looks:
    """Return how each method's line looks, the same in every panel."""
    colours, dashes, markers = cycle(_COLOURS), cycle(_DASHES), cycle(_MARKERS)
    muted = {"color": _FLOOR, "marker": ""}
    return {
        standing.row.title: muted | {"linestyle": next(dashes)}
        if standing.row.floor
        else {"color": next(colours), "linestyle": "-", "marker": next(markers)}
        for standing in found
    }


def _draw(panel: "Axes", ladder: Ladder, drawn: Sequence[Line], looks: _Looks, chance: float) -> None:
    places = range(len(ladder.attacks) + 1)
    for line in reversed(drawn):  # the best on top
        look = looks[line.title]
        accuracy, low, high = zip(*(point or (float("nan"),) * 3 for point in line.points), strict=True)
        panel.plot(
            places, accuracy, color=look["color"], linestyle=look["linestyle"], marker=look["marker"],
            linewidth=1 if line.floor else 1.6, markersize=3.5,
        )  # fmt: skip
        if not line.floor:
            panel.fill_between(places, low, high, color=look["color"], alpha=0.13, linewidth=0)
    panel.axhline(chance, color="black", linewidth=0.8, linestyle=(0, (1, 3)))
    panel.set_title(ladder.label, loc="left", fontsize="medium")
    panel.set_xticks(places, ["clean", *map(str, ladder.severities)])
    panel.set_xlabel(ladder.axis)
    panel.set_ylim(0, 100)
    panel.set_xlim(-0.2, places[-1] + 0.1)


def _label(panel: "Axes", drawn: Sequence[Line]) -> list["Text"]:
    """Write the methods' names at the right of a panel, where `_lead` gives them their heights."""
    right = panel.get_xlim()[1] + 0.7
    return [
        panel.text(
            right, 0, _shortened(line.title), va="center", fontsize="small", color=_FLOOR if line.floor else _INK
        )
        for line in drawn
    ]


def _shortened(title: str) -> str:
    half = _TITLE // 2
    return title if len(title) <= _TITLE else f"{title[:half]}…{title[1 - half :]}"


def _lead(panel: "Axes", drawn: Sequence[Line], labels: Sequence["Text"], looks: _Looks) -> None:
    """Move the names apart, each as little as it must be, and lead from the end of its line to a piece of it."""
    ends = [[(place, point[0]) for place, point in enumerate(line.points) if point][-1] for line in drawn]
    order = sorted(range(len(drawn)), key=lambda number: ends[number][1])
    gap = 100 * _LABEL * _DPI / panel.get_window_extent().height
    left = panel.get_xlim()[1]
    for number, height in zip(order, apart([ends[number][1] for number in order], gap), strict=True):
        look, (place, accuracy) = looks[drawn[number].title], ends[number]
        labels[number].set_y(height)
        panel.plot((place, left + 0.25), (accuracy, height), color=look["color"], linewidth=0.5, clip_on=False)
        panel.plot(
            (left + 0.25, left + 0.42, left + 0.59), (height,) * 3, color=look["color"], linestyle=look["linestyle"],
            marker=look["marker"], markevery=[1], linewidth=1.2, markersize=3.5, clip_on=False,
        )  # fmt: skip


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Return places from 0 to 100 at least ``gap`` from each other, nearest in least squares to rising ``values``."""
    from scipy.optimize import isotonic_regression

    if not values:
        return []
    steps = gap * np.arange(len(values))
    moved: list[float] = (np.clip(isotonic_regression(values - steps).x, 0, 100 - steps[-1]) + steps).tolist()
    return moved
