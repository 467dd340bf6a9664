"""The tables of a board, as text: the only place that rounds accuracies and ratios."""

from collections.abc import Callable, Sequence

from gfp_bench.boards.board import Board, Place, Result
from gfp_bench.boards.ranking import Estimate, Standing
from gfp_bench.contracts.task import CLEAN, Measure
from gfp_bench.engine.plan import Row
from gfp_bench.protocols.protocol import Ladder

_ONE_SEED = (
    "One seed: how another training would do is not known. The interval is over images alone, and the row competes "
    "neither for bold nor for `†`."
)

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
    """Return one line per row: the first place, and each attack before and after immunisation."""
    headline = board.task.measures[0]
    return [
        {
            "rank": rank(standing),
            "method": f"`{standing.row.title}`" + _deviations(standing.row, notes) + _one_seed(board, standing, notes),
            "weights, budget": ", ".join(filter(None, (standing.row.weights, standing.row.budget))) or "none",
            headline.title: _at(standing, board.first, notes, _with_interval(headline)),
            **({"immunisation": standing.row.immunisation or "not stated"} if board.immunised else {}),
            **{
                board.heading(name): _both(standing, _under(board, name), notes, headline)
                for name in board.single_columns
            },
            **(_separability(standing, board.first, notes) if board.task.separability else {}),
        }
        for standing in found
    ]


def short_table(board: Board, found: Sequence[Standing]) -> Table:
    """Return one line per row, under attack in short; of a ladder its mildest and harshest step."""
    headline = board.task.measures[0]
    columns = {board.heading(name): _under(board, name) for name in board.single_columns}
    columns |= {ladder.label: [(CLEAN, ladder.attacks[0]), (CLEAN, ladder.attacks[-1])] for ladder in board.ladders}
    return [
        {
            "rank": rank(standing),
            "method": standing.row.title,
            board.first[1]: _short(standing, board.first, headline, 1),
            **{title: _short_pair(standing, places, headline) for title, places in columns.items()},
        }
        for standing in found
    ]


def _short_pair(standing: Standing, places: Sequence[Place], measure: Measure) -> str:
    texts = [_short(standing, place, measure, 0) for place in places]
    if not any(place in standing.estimates for place in places):
        texts = list(dict.fromkeys(texts))
    return " → ".join(texts)


def _short(standing: Standing, place: Place, measure: Measure, digits: int) -> str:
    estimate = standing.estimates.get(place)
    if estimate:
        text = f"{100 * estimate.value:.{digits}f}" if measure.percent else shown(estimate.value, measure)
        return text + "‡" * estimate.not_above_floor
    lacking = [result.status for result in standing.results.get(place, ()) if result.status != "done"]
    return lacking[0] if lacking else "not run"


def interval_table(board: Board, found: Sequence[Standing], notes: Notes) -> Table:
    """Return one line per row and attack, with what the main table has no room for."""
    show = _with_interval(board.task.measures[0])
    return [
        {"method": f"`{standing.row.title}`", "attack": board.heading(attack)}
        | {
            name: _at(standing, place, notes, show)
            for name, place in zip(("attacked", "immunised"), _under(board, attack), strict=False)
        }
        for standing in found
        for attack in board.single_columns
    ]


def measure_table(board: Board, found: Sequence[Standing], notes: Notes) -> Table:
    """Return one line per row: every measure of the task at the first place, with its interval."""
    headline, *others = board.task.measures
    return [
        {
            "method": f"`{standing.row.title}`",
            headline.title: _at(standing, board.first, notes, _with_interval(headline)),
            **{measure.title: _measured(standing, board.first, measure, notes) for measure in others},
        }
        for standing in found
    ]


def _measured(standing: Standing, first: Place, measure: Measure, notes: Notes) -> str:
    told = standing.measures.get(measure.key)
    if told is None:
        return _missing(standing.results.get(first, ()), notes)
    return (
        _with_interval(measure)(told) if isinstance(told, Estimate) else "undefined" + notes.mark(f"Undefined: {told}.")
    )


def ladder_table(board: Board, ladder: Ladder, found: Sequence[Standing], notes: Notes) -> Table:
    """Return one line per row: the first place, and each severity."""
    show = _value(board.task.measures[0])
    places = {board.first[1]: board.first} | {
        str(severity): (CLEAN, attack) for severity, attack in zip(ladder.severities, ladder.attacks, strict=True)
    }
    return [
        {"method": f"`{standing.row.title}`"}
        | {column: _at(standing, place, notes, show) for column, place in places.items()}
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
    told = "; ".join(row.deviations)
    if told and row.floor:  # which has no paper
        return notes.mark(f"{told[0].upper()}{told[1:]}.")
    return notes.mark(f"Differs from the paper: {told}.") if told else ""


def _one_seed(board: Board, standing: Standing, notes: Notes) -> str:
    return notes.mark(_ONE_SEED) if standing.row.title in board.of_one_seed else ""


def _at(standing: Standing, place: Place, notes: Notes, show: Callable[[Estimate], str]) -> str:
    """Return what a row has at a place, or why it has nothing there."""
    estimate = standing.estimates.get(place)
    return show(estimate) if estimate else _missing(standing.results.get(place, ()), notes)


def _both(standing: Standing, places: Sequence[Place], notes: Notes, measure: Measure) -> str:
    texts = [_at(standing, place, notes, _value(measure)) for place in places]
    if not any(place in standing.estimates for place in places):
        texts = list(dict.fromkeys(texts))  # one reason need not be read twice
    return " → ".join(texts)


def _missing(results: Sequence[Result], notes: Notes) -> str:
    if not results:
        return "not run" + notes.mark("Not run: not in the plan.")
    lacking = [result for result in results if result.status != "done"]
    texts = []
    for status in dict.fromkeys(result.status for result in lacking):
        own = [result for result in lacking if result.status == status]
        count = f" {len(own)}/{len(results)}" if len(results) > 1 else ""
        reasons = sorted({_code(result.reason or "no result yet") for result in own})
        texts.append(status + count + notes.mark(f"{status.capitalize()}: {'; '.join(reasons)}."))
    return ", ".join(texts)


def _code(reason: str) -> str:
    """Return a reason as inline code, since what plugins raise may hold any mark-up."""
    return "`" + " ".join(reason.replace("`", "'").split()) + "`"


def _separability(standing: Standing, first: Place, notes: Notes) -> dict[str, str]:
    if first not in standing.estimates:
        missing = _missing(standing.results.get(first, ()), notes)
        return {"FDR (equal)": missing, "n, d": missing}
    found = [result.separability for result in standing.results[first]]
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


def _value(measure: Measure) -> Callable[[Estimate], str]:
    def show(estimate: Estimate) -> str:
        text = shown(estimate.value, measure)
        return f"**{text}**" if estimate.best else text + _marks(estimate)

    return show


def _marks(estimate: Estimate) -> str:
    return "†" * estimate.tied + "‡" * estimate.not_above_floor


def _with_interval(measure: Measure) -> Callable[[Estimate], str]:
    def show(estimate: Estimate) -> str:
        low, high = shown(estimate.low, measure), shown(estimate.high, measure)
        text = f"{_value(measure)(estimate)} [{low}, {high}]"
        return text if estimate.spread is None else f"{text} ± {shown(estimate.spread, measure)}"

    return show


def shown(value: float, measure: Measure) -> str:
    """Return a measure's value as boards print it."""
    return percent(value) if measure.percent else f"{value:.3g}"


def percent(fraction: float) -> str:
    """Return a fraction in percent, with one decimal."""
    return f"{100 * fraction:.1f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
