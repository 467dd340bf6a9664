"""Boards as Markdown, CSV and LaTeX.

Equal boards give equal bytes: there is no date, no duration and no path in them; durations have a table of their own.
"""

import csv as csv_module
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tabulate import LATEX_ESCAPE_RULES, tabulate

from gfp_bench.boards.board import Board, Result
from gfp_bench.boards.ranking import FEWEST, Standing
from gfp_bench.boards.tables import (
    Notes,
    Table,
    interval_table,
    ladder_table,
    main_table,
    measure_table,
    rank,
    short_table,
    shown,
)
from gfp_bench.contracts.task import COMPARED
from gfp_bench.engine.plan import method_title
from gfp_bench.protocols.protocol import Ladder

_HEADLINE = (
    "{measure}, averaged over seeds. In brackets its 95 % interval, for other images and other seeds: groups of test "
    "images within each source are a sample, and so are seeds, where there are several. `±`: standard deviation over "
    "seeds (ddof 1). Of three seeds little is learnt of others: an interval is then at least ± 2.5 such deviations."
)
_IMMUNISED = (
    "Attack columns: test images attacked → the same after immunisation to that attack. Compare arrows of one kind: "
    "`refit` fits the method anew on attacked images, `fine-tuned` trains what was fitted for so many updates more."
)
_ATTACKED = "Attack columns: test images attacked, methods as they were fitted on clean images."
_LADDERS = (
    "Ladders: test images attacked with rising severity, methods as they were fitted on clean images; every step has "
    "the same random draws. Intervals are drawn in the figure and stand in the CSV."
)
_MARKS = (
    "Best in bold; `†` cannot be told from the best; `‡` cannot be shown to be above the best floor. Both tests are at "
    "5 %, over images and seeds, Holm-adjusted within their column. Only ranked rows compete, and where the best of "
    "them is not above the floor nothing is bold. How, and how often this is right: `docs/statistics.md`."
)
_SEPARABILITY = (
    "`FDR (equal)`: Fréchet distance between sources over that within them, n/2 images on both sides, so that "
    "1 is no signal; in brackets its 95 % range under permuted labels (over seeds: the mean, the widest range). It "
    "depends on n and d, the number of images per source and the dimension, so it ranks nothing across methods."
)
_DRAWN = f" Measured between {COMPARED} of the sources, drawn once and the same ones for every method."
_SCREEN = 80  # columns of a terminal
_TITLE = 32  # columns that a method's title may have there


def markdown(board: Board, found: Sequence[Standing]) -> str:
    """Return the board, whose `standings` are given, as GitHub shows it."""
    notes = Notes()
    table = _markdown_table(main_table(board, found, notes))
    intervals = _markdown_table(interval_table(board, found, notes))
    measures = _markdown_table(measure_table(board, found, notes)) if len(board.task.measures) > 1 else ""
    ladders = [_ladder_markdown(ladder, ladder_table(board, ladder, found, notes)) for ladder in board.ladders]
    listed = [f"{number}. {text}" for number, text in enumerate(notes.texts, 1)]
    parts = [
        f"# {board.dataset}, {board.protocol}",
        *(f"> {line}" for line in _draft(board)),
        _bullets(_facts(board)),
        table,
        _bullets(_legend(board)),
        *(["Notes:", "\n".join(listed)] if listed else []),
        *([f"## {board.first[1].capitalize()}, every measure", measures] if measures else []),
        *(["## Under attack, with intervals", intervals] if board.single_columns else []),
        *(["## Under rising severity", f"![Accuracy against severity]({board.figure})", *ladders] if ladders else []),
    ]
    return "\n\n".join(parts) + "\n"


def _ladder_markdown(ladder: Ladder, table: Table) -> str:
    return f"### {ladder.label}: {ladder.axis}\n\n{_markdown_table(table)}"


def screen(board: Board, found: Sequence[Standing]) -> str:
    """Return the board in short, for a terminal: intervals, bold, ties and notes stand in the Markdown."""
    parts = [_simple(part) for part in _parts(short_table(board, found))]
    attacked = "; under each attack: attacked → immunised" if board.single_columns and board.immunised else ""
    stepped = "; of each ladder: its mildest → its harshest step" if board.ladders else ""
    legend = f"{_headline(board)}{attacked}{stepped}."
    if any("‡" in part for part in parts):
        legend += "\n‡ cannot be shown to be above the best floor of its column."
    return "\n\n".join([f"{board.dataset}, {board.protocol}", *parts, legend]) + "\n"


def _parts(rows: Table) -> list[Table]:
    """Return the columns of a table as several, each with the methods and as narrow as a terminal."""
    lead, attacks = list(rows[0])[:3], list(rows[0])[3:]
    parts = [lead]
    for attack in attacks:
        wider = [*parts[-1], attack]
        if parts[-1] == ["method"] or _width(_chosen(rows, wider)) <= _SCREEN:
            parts[-1] = wider
        else:
            parts.append(["method", attack])
    return [_chosen(rows, columns) for columns in parts]


def _chosen(rows: Table, columns: Sequence[str]) -> Table:
    return [{column: row[column] for column in columns} for row in rows]


def _width(rows: Table) -> int:
    return max(map(len, _simple(rows).splitlines()))


def _simple(rows: Table) -> str:
    widths = [_TITLE if column == "method" else None for column in rows[0]]
    return tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True, maxcolwidths=widths)


def latex(board: Board, found: Sequence[Standing]) -> str:
    """Return the tables for booktabs, with provenance as comments and notes below them."""
    notes = Notes()
    tables = [
        _latex_table(main_table(board, found, notes)),
        *([_latex_table(measure_table(board, found, notes))] if len(board.task.measures) > 1 else []),
        *(
            f"\\par{{{_escaped(f'{ladder.label}: {ladder.axis}')}\\par}}\n"
            + _latex_table(ladder_table(board, ladder, found, notes))
            for ladder in board.ladders
        ),
    ]
    comments = [f"% {line}" for line in (f"{board.dataset}, {board.protocol}", *_facts(board), *_legend(board))]
    below = [*_draft(board), *(f"({number}) {text}" for number, text in enumerate(notes.texts, 1))]
    marked = _latex_marks("\n".join([*tables, *(f"\\par{{\\footnotesize {_escaped(text)}\\par}}" for text in below)]))
    return "\n".join([*comments, marked]) + "\n"


def _latex_table(rows: Table) -> str:
    return tabulate(rows, headers="keys", tablefmt="latex_booktabs", disable_numparse=True)


def csv(board: Board, found: Sequence[Standing]) -> str:
    """Return every planned cell as a line at full precision; columns are the union of what cells have."""
    lines = [_line(board, standing, result) for standing in found for result in standing.all_results]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv_module.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _legend(board: Board) -> list[str]:
    attacked = [_IMMUNISED if board.immunised else _ATTACKED] if board.single_columns else []
    ladders = [_LADDERS] if board.ladders else []
    drawn = _DRAWN if len(board.shown.sources) > COMPARED else ""
    separability = [_SEPARABILITY + drawn] if board.task.separability else []
    return [_HEADLINE.format(measure=_headline(board)), *attacked, *ladders, _MARKS, *_few(board), *separability]


def _few(board: Board) -> list[str]:
    """Say where there are too few groups for marks."""
    found: dict[str, int] = {}
    for images in {id(one.outcome.shown): one.outcome.shown for one in board.results if one.outcome}.values():
        groups = {name: len(set(images.groups[images.labels == i].tolist())) for i, name in enumerate(images.sources)}
        found |= {name: count for name, count in groups.items() if count < FEWEST}
    few = ", ".join(f"{name} {count}" for name, count in sorted(found.items()))
    return [f"No marks where a source has fewer than {FEWEST} groups of test images: {few}."] if found else []


def _headline(board: Board) -> str:
    measure = board.task.measures[0]
    title = measure.title[0].upper() + measure.title[1:]
    return f"{title} in percent" if measure.percent else title


def _draft(board: Board) -> list[str]:
    if not board.draft:
        return []
    return [f"**Draft.** `{board.protocol}` is a draft of its protocol: do not cite these numbers, they will change."]


def _facts(board: Board) -> list[str]:
    images = board.shown
    sizes = [int((images.labels == index).sum()) for index in range(len(images.sources))]
    sources = ", ".join(f"{name} {size}" for name, size in zip(images.sources, sizes, strict=True))
    devices: dict[str, list[str]] = {}
    for row in board.rows:
        devices.setdefault(_devices(board, row.title), []).append(row.title)
    ran = [
        name if len(devices) == 1 else f"{name} ({', '.join(sorted(rows))})" for name, rows in sorted(devices.items())
    ]
    return [
        f"Dataset: `{board.dataset}`, digest `{board.digest[:12]}`.",
        *(f"Leakage that the dataset allows: {what}." for what in board.leakage),
        f"Protocol: `{board.protocol}`.",
        f"Test images: {len(images.labels)} ({sources}) in {len(set(images.groups.tolist()))} groups; chance is "
        f"{shown(board.task.chance(images), board.task.measures[0])}.",
        f"Ran on: {'; '.join(ran)}.",
        *([f"Ran with: {', '.join(board.provenance)}."] if board.provenance else []),
        f"Made again from its records by `{board.rederive}`.",
        *board.remarks,
    ]


def _devices(board: Board, row: str) -> str:
    return ", ".join(board.devices[row]) or "none"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    barred = [{name: text.replace("|", r"\|") for name, text in row.items()} for row in rows]
    return tabulate(barred, headers="keys", tablefmt="pipe", disable_numparse=True)


def _escaped(text: str) -> str:
    return "".join(LATEX_ESCAPE_RULES.get(character, character) for character in text)


def _latex_marks(text: str) -> str:
    """Return escaped LaTeX with the marks of our Markdown replaced."""
    text = re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", re.sub(r"`(.+?)`", r"\\texttt{\1}", text))
    for mark, command in (("†", r"$^{\dagger}$"), ("‡", r"$^{\ddagger}$"), ("→", r"$\to$"), ("±", r"$\pm$")):
        text = text.replace(mark, command)
    return text


def _line(board: Board, standing: Standing, result: Result) -> dict[str, Any]:
    row, estimate, sources = standing.row, standing.estimates.get(result.place), board.shown.sources
    over_seeds = {
        "mean": estimate and estimate.value,
        "low": estimate and estimate.low,
        "high": estimate and estimate.high,
        "sd": estimate and estimate.spread,
    }
    marks = {
        "best": estimate and estimate.best,
        "tied_with_best": estimate and estimate.tied,
        "not_above_floor": estimate and estimate.not_above_floor,
    }
    return {
        "dataset": board.dataset,
        "digest": board.digest,
        "protocol": board.protocol,
        "method": row.title,
        "settings": method_title("", row.settings),
        "weights": row.weights,
        "budget": row.budget,
        "device": _devices(board, row.title),
        "deviations": "; ".join(row.deviations),
        **({"immunisation": row.immunisation or "not stated"} if board.immunised else {}),
        "rank": rank(standing),
        "condition": result.condition,
        "attack": result.column,
        "seed": result.seed,
        **({"fold": result.fold} if board.folded else {}),
        "status": result.status,
        "reason": result.reason,
        **{f"{board.task.measures[0].key}.{name}_over_seeds": value for name, value in over_seeds.items()},
        **marks,
        **dict(_flat(result.metrics, "", sources)),
        **dict(_flat(result.separability, "separability.", sources)),
    }


def _flat(values: Mapping[str, Any], prefix: str, sources: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield numbers and texts by dotted name, a list by source; matrices stay in the records."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.", sources)
        elif not isinstance(value, list | tuple):
            yield prefix + name, value
        elif len(value) == len(sources) and not isinstance(value[0], list | tuple):
            yield from ((f"{prefix}{name}.{source}", one) for source, one in zip(sources, value, strict=True))
