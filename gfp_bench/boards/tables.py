"""The tables of a board, as text: the only place that rounds accuracies and ratios."""

from collections.abc import Callable, Sequence

from gfp_bench.boards.ranking import CLEAN, Board, Cell, Estimate, Ladder, Place, Row, Standing

_CLEAN = (CLEAN, CLEAN)
Table = list[dict[str, str]]
"""One dict a line, text by column, in the Markdown that every form starts from."""


class Notes:
    """Footnotes, numbered in the order in which they are first asked for."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """Return the reference to a note."""
        if text not in self.texts:
            self.texts.append(text)
        return f" (note {self.texts.index(text) + 1})"


def main_table(board: Board, found: Sequence[Standing], notes: Notes) -> Table:
    """Return one line a row: clean, and under each attack before and after immunisation."""
    return [
        {
            "rank": rank(standing),
            "method": f"`{standing.row.title}`" + _deviations(standing.row, notes),
            "weights, budget": ", ".join(filter(None, (standing.row.weights, standing.row.budget))) or "none",
            "balanced accuracy": _at(standing, _CLEAN, notes, _with_interval),
            **{attack: _both(standing, _under(board, attack), notes) for attack in board.single_attacks},
            **_separability(standing, notes),
        }
        for standing in found
    ]


def short_table(board: Board, found: Sequence[Standing]) -> Table:
    """Return one line a row in percent, under attack in whole percent; of a ladder its mildest and harshest step."""
    columns = {attack: _under(board, attack) for attack in board.single_attacks}
    columns |= {ladder.title: [(CLEAN, ladder.attacks[0]), (CLEAN, ladder.attacks[-1])] for ladder in board.ladders}
    return [
        {
            "rank": rank(standing),
            "method": standing.row.title,
            "clean": _short(standing, _CLEAN, 1),
            **{title: _short_pair(standing, places) for title, places in columns.items()},
        }
        for standing in found
    ]


def _short_pair(standing: Standing, places: Sequence[Place]) -> str:
    texts = [_short(standing, place, 0) for place in places]
    if not any(place in standing.estimates for place in places):
        texts = list(dict.fromkeys(texts))
    return " → ".join(texts)


def _short(standing: Standing, place: Place, digits: int) -> str:
    estimate = standing.estimates.get(place)
    if estimate:
        return f"{100 * estimate.accuracy:.{digits}f}"
    lacking = [cell.status for cell in standing.cells.get(place, ()) if cell.status != "done"]
    return lacking[0] if lacking else "not run"


def interval_table(board: Board, found: Sequence[Standing], notes: Notes) -> Table:
    """Return one line a row and attack, with what the main table has no room for."""
    return [
        {"method": f"`{standing.row.title}`", "attack": attack}
        | {
            name: _at(standing, place, notes, _with_interval)
            for name, place in zip(("attacked", "immunised"), _under(board, attack), strict=False)
        }
        for standing in found
        for attack in board.single_attacks
    ]


def ladder_table(ladder: Ladder, found: Sequence[Standing], notes: Notes) -> Table:
    """Return one line a row: clean, and under each severity."""
    places = {"clean": _CLEAN} | {
        severity: (CLEAN, attack) for severity, attack in zip(ladder.severities, ladder.attacks, strict=True)
    }
    return [
        {"method": f"`{standing.row.title}`"}
        | {column: _at(standing, place, notes, _value) for column, place in places.items()}
        for standing in found
    ]


def _under(board: Board, attack: str) -> list[Place]:
    return [(CLEAN, attack), (attack, attack)] if board.immunised else [(CLEAN, attack)]


def rank(standing: Standing) -> str:
    """Return a row's rank or why it has none."""
    if standing.rank:
        return str(standing.rank)
    return "floor" if standing.row.floor else "not ranked"


def _deviations(row: Row, notes: Notes) -> str:
    return notes.mark(f"Differs from the paper: {'; '.join(row.deviations)}.") if row.deviations else ""


def _at(standing: Standing, place: Place, notes: Notes, show: Callable[[Estimate], str]) -> str:
    """Return what a row has at a place, or why it has nothing there."""
    estimate = standing.estimates.get(place)
    return show(estimate) if estimate else _missing(standing.cells.get(place, ()), notes)


def _both(standing: Standing, places: Sequence[Place], notes: Notes) -> str:
    texts = [_at(standing, place, notes, _value) for place in places]
    if not any(place in standing.estimates for place in places):
        texts = list(dict.fromkeys(texts))  # one reason need not be read twice
    return " → ".join(texts)


def _missing(cells: Sequence[Cell], notes: Notes) -> str:
    if not cells:
        return "not run" + notes.mark("Not run: not in the plan.")
    lacking = [cell for cell in cells if cell.status != "done"]
    texts = []
    for status in dict.fromkeys(cell.status for cell in lacking):
        own = [cell for cell in lacking if cell.status == status]
        count = f" {len(own)}/{len(cells)}" if len(cells) > 1 else ""
        reasons = sorted({_code(cell.reason or "no result yet") for cell in own})
        texts.append(status + count + notes.mark(f"{status.capitalize()}: {'; '.join(reasons)}."))
    return ", ".join(texts)


def _code(reason: str) -> str:
    """Return a reason as inline code, since what plugins raise may hold any mark-up."""
    return "`" + " ".join(reason.replace("`", "'").split()) + "`"


def _separability(standing: Standing, notes: Notes) -> dict[str, str]:
    if _CLEAN not in standing.estimates:
        missing = _missing(standing.cells.get(_CLEAN, ()), notes)
        return {"FDR (equal)": missing, "n, d": missing}
    found = [cell.separability for cell in standing.cells[_CLEAN]]
    shape = f"{found[0]['n']}, {found[0]['d']}"
    reasons = sorted({one["reason"] for one in found if one["reason"]})
    why = notes.mark(f"FDR undefined: {'; '.join(reasons)}.") if reasons else ""
    values = [one["fdr_equal"] for one in found]
    ends = [(one["permuted_low"], one["permuted_high"]) for one in found]
    if None in values:
        return {"FDR (equal)": f"undefined{why}", "n, d": shape}
    if (None, None) in ends:
        permuted = f"undefined{why}"
    else:
        permuted = f"{_ratio(min(low for low, _ in ends))}, {_ratio(max(high for _, high in ends))}"
    return {"FDR (equal)": f"{_ratio(sum(values) / len(values))} [{permuted}]", "n, d": shape}


def _value(estimate: Estimate) -> str:
    text = percent(estimate.accuracy)
    return f"**{text}**" if estimate.best else text + "†" * estimate.tied


def _with_interval(estimate: Estimate) -> str:
    text = f"{_value(estimate)} [{percent(estimate.low)}, {percent(estimate.high)}]"
    return text if estimate.spread is None else f"{text} ± {percent(estimate.spread)}"


def percent(fraction: float) -> str:
    """Return a fraction in percent, with one decimal."""
    return f"{100 * fraction:.1f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
