"""Boards made of synthetic cells: what they say, in which order, and what they refuse."""

import csv as csv_module
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gfp_bench.boards import formats
from gfp_bench.boards.board import Board, Result, Status
from gfp_bench.boards.ranking import standings
from gfp_bench.boards.timing import Timing, timing_markdown
from gfp_bench.contracts.task import Outcome, Shown
from gfp_bench.engine.plan import Row
from gfp_bench.errors import RecordError
from gfp_bench.protocols.protocol import Ladder, load_protocol
from gfp_bench.tasks import load_task

SOURCES = ("dcgan", "real", "vae", "wgan-gp")
LABELS = np.arange(80) % 4
SHOWN = Shown(labels=LABELS, groups=np.arange(80) // 2, sources=SOURCES)
ATTACKS = ("noise", "jpeg")
PLACES = [("clean", "clean"), *(("clean", a) for a in ATTACKS), *((a, a) for a in ATTACKS), ("noise", "clean")]


def markdown(board: Board) -> str:
    return formats.markdown(board, standings(board))


def latex(board: Board) -> str:
    return formats.latex(board, standings(board))


def csv(board: Board) -> str:
    return formats.csv(board, standings(board))


def screen(board: Board) -> str:
    return formats.screen(board, standings(board))


def outcome(correct: np.ndarray) -> Outcome:
    return Outcome(kept={"answer": np.where(correct, LABELS, (LABELS + 1) % 4)}, shown=SHOWN, known=SOURCES)


def row_of(title: str, **facts: Any) -> Row:
    return Row(title=title, method=title.partition("[")[0], settings=facts.pop("settings", {}), **facts)


def done(row: str, place: tuple[str, str], share: float, seed: int = 0, device: str = "cpu") -> Result:
    """A result whose method is right on a share of each source's images, on others with other seeds."""
    correct = np.roll(np.repeat(np.arange(20) < round(20 * share), 4), 4 * seed)
    recall = correct.reshape(20, 4).mean(axis=0)
    metrics: dict[str, Any] = {
        "balanced_accuracy": float(recall.mean()),
        "recall": recall.tolist(),
        "confusion": [[1]],
        "detection_auroc": None,
    }
    separability = {"n": 20, "d": 4, "fdr": 3.0, "fdr_equal": 2.0 + seed, "permuted_low": 0.9 - seed / 10}
    separability |= {"permuted_high": 1.1 + seed / 10, "reason": ""}
    return Result(
        row=row,
        condition=place[0],
        column=place[1],
        seed=seed,
        status="done",
        outcome=outcome(correct),
        metrics=metrics,
        separability=separability,
        device=device,
    )


def lost(result: Result, status: Status, reason: str) -> Result:
    return Result(
        row=result.row,
        condition=result.condition,
        column=result.column,
        seed=result.seed,
        status=status,
        reason=reason,
    )


def cells(row: str, clean: float, seeds: int = 1) -> list[Result]:
    """What a row has: less under attack, half of it won back by immunisation."""
    shares = {place: clean - 0.2 * (place[1] != "clean") + 0.1 * (place[0] != "clean") for place in PLACES}
    return [done(row, place, shares[place] + seed / 20, seed) for place in PLACES for seed in range(seeds)]


def board(*more: Result, rows: tuple[Row, ...] = ()) -> Board:
    """Three contenders, one with three seeds, and a floor below them all."""
    titles = (
        row_of("durall20", immunisation="refit"),
        row_of("knn", settings={"k": 1}, immunisation="refit"),
        row_of("thumbnail", floor=True, immunisation="refit"),
        row_of("yu19[budget=smoke]", weights="scratch", budget="smoke", deviations=("20 epochs", "no EMA"),
               stochastic=True, immunisation="fine-tuned, 12 updates"),
    )  # fmt: skip
    shares = {"durall20": 0.5, "knn": 0.75, "thumbnail": 0.3}
    return Board(
        dataset="photo-mini",
        digest="0123456789abcdef" * 4,
        protocol="attribution@0",
        draft=True,
        task=load_task("attribution"),
        shown=SHOWN,
        columns=("clean", *ATTACKS),
        rows=(*titles, *rows),
        results=(
            *(cell for row, share in shares.items() for cell in cells(row, share)),
            *cells("yu19[budget=smoke]", 0.7, seeds=3),
            *more,
        ),
        provenance=("gfp-bench 0.1.0", "torch 2.6.0"),
        rederive="gfp-bench leaderboard photo-mini attribution@0",
    )


def broken(row: str, status: Status, reason: str, *, seeds: int = 3) -> Board:
    """The board with another row that lost its immunised noise cell of seed 1."""
    own = [
        lost(cell, status, reason) if cell.place == ("noise", "noise") and cell.seed == 1 else cell
        for cell in cells(row, 0.9, seeds)
    ]
    return board(*own, rows=(row_of(row),))


def lines(text: str, title: str) -> list[list[str]]:
    """Return the cells of a row's lines in Markdown, main table first."""
    found = [line for line in text.splitlines() if f"`{title}`" in line and line.startswith("|")]
    return [[part.strip() for part in line.strip("|").split(" | ")] for line in found]


def test_methods_are_ranked_and_the_best_and_its_ties_are_marked() -> None:
    text = markdown(board())
    assert lines(text, "knn")[0][:4] == ["1", "`knn`", "none", "**75.0** [58.6, 86.4]"]
    assert lines(text, "durall20")[0][3:6] == ["50.0 [34.1, 65.9]", "refit", "30.0 → 40.0"]
    yu19 = lines(text, "yu19[budget=smoke]")[0]
    assert yu19[:3] == ["1", "`yu19[budget=smoke]` (note 1)", "scratch, smoke"]
    assert yu19[3].startswith("**75.0** [") and yu19[3].endswith("] ± 5.0")
    assert "\n1. Differs from the paper: 20 epochs; no EMA.\n" in text


def test_a_method_that_cannot_be_told_from_the_best_is_marked() -> None:
    text = markdown(board(*cells("near", 0.7), rows=(row_of("near"),)))
    assert lines(text, "near")[0][0] == "3"
    assert lines(text, "near")[0][3].startswith("70.0† [")  # 4 of 80 images
    assert lines(text, "near")[0][5] == "50.0† → 60.0†"
    assert lines(text, "durall20")[0][5] == "30.0 → 40.0"


def test_floors_are_shown_below_and_do_not_compete() -> None:
    text = markdown(board())
    floor = lines(text, "thumbnail")[0]
    assert (floor[0], floor[5]) == ("floor", "10.0 → 20.0")
    assert text.index("`durall20`") < text.index("`thumbnail`")


def with_floor(share: float) -> Board:
    """The board with a floor as good as that when clean."""
    base = board()
    others = tuple(one for one in base.results if one.row != "thumbnail")
    return replace(base, results=(*others, *cells("thumbnail", share)))


def test_what_is_not_above_the_best_floor_is_marked_and_nothing_below_it_is_bold() -> None:
    text = markdown(with_floor(0.9))
    assert lines(text, "knn")[0][3:6] == ["75.0‡ [58.6, 86.4]", "refit", "55.0‡ → 65.0‡"]
    assert "**" not in text.split("| rank")[1].split("- Balanced")[0], "the best contender is below the floor"
    assert "‡" not in " ".join(lines(text, "thumbnail")[0])


def test_a_row_may_be_tied_to_the_best_and_not_be_above_the_floor() -> None:
    text = markdown(with_floor(0.6))
    assert lines(text, "knn")[0][3].startswith("**75.0** [")
    rows = {standing.row.title: standing.estimates["clean", "clean"] for standing in standings(with_floor(0.6))}
    assert (rows["knn"].best, rows["knn"].not_above_floor) == (True, False)
    assert (rows["durall20"].tied, rows["durall20"].not_above_floor) == (False, True)
    near = replace(board(*cells("near", 0.65), rows=(row_of("near"),)), results=(
        *with_floor(0.55).results, *cells("near", 0.65)))  # fmt: skip
    assert lines(markdown(near), "near")[0][3].startswith("65.0†‡ [")


def test_seeds_widen_the_interval_and_keep_rows_from_being_told_apart() -> None:
    """As ``14.8 [14.1, 15.5] ± 11.4`` must not be read again: three seeds far apart, images that are many."""
    far = [done("far", place, share, seed) for place in PLACES for seed, share in enumerate((0.4, 0.5, 0.6))]
    found = board(*far, rows=(row_of("far", stochastic=True),))
    estimate = next(one for one in standings(found) if one.row.title == "far").estimates["clean", "clean"]
    half = stats.t.ppf(0.975, 2) * estimate.spread / np.sqrt(3)
    assert estimate.value + half <= estimate.high <= estimate.value + 1.2 * half
    assert estimate.tied, "25 points below the best, and no more than chance could do"


def test_a_stochastic_row_of_one_seed_says_so_and_is_neither_best_nor_tied() -> None:
    once = [done("once", place, 0.95) for place in PLACES]
    text = markdown(board(*once, rows=(row_of("once", stochastic=True),)))
    row = lines(text, "once")[0]
    assert row[:2] == ["1", "`once` (note 1)"]
    assert row[3].startswith("95.0 [")
    assert not {"*", "†"} & set("".join(row))
    assert "1. One seed: how another training would do is not known." in text
    assert lines(text, "knn")[0][3].startswith("**75.0**")
    assert "One seed" not in markdown(board()), "a method that is not stochastic runs once, and yu19 has three"


def test_no_mark_rests_on_fewer_than_ten_groups() -> None:
    few = replace(SHOWN, groups=np.where(LABELS == 1, np.arange(80) // 4 % 9, SHOWN.groups))
    base = board()
    results = tuple(replace(one, outcome=replace(one.outcome, shown=few)) for one in base.results if one.outcome)
    text = markdown(replace(base, results=results))
    assert not {"*", "†", "‡"} & set(text.split("| rank")[1].split("- Balanced")[0])
    assert "No marks where a source has fewer than 10 groups of test images: real 9." in text
    assert "No marks" not in markdown(base)


def test_a_row_says_how_it_is_immunised() -> None:
    text = markdown(board(rows=(row_of("old"),)))
    assert lines(text, "yu19[budget=smoke]")[0][4] == "fine-tuned, 12 updates"
    assert lines(text, "old")[0][4] == "not stated"
    table = list(csv_module.DictReader(io.StringIO(csv(board()))))
    assert {line["method"]: line["immunisation"] for line in table}["knn"] == "refit"
    assert "fine-tuned, 12 updates" in latex(board())
    clean = replace(board(), results=tuple(one for one in board().results if one.condition == "clean"))
    assert "refit" not in markdown(clean) + csv(clean)


def test_what_an_attack_says_of_itself_stands_in_its_title_alone() -> None:
    noted = replace(board(), notes={"noise": "synthetic", "jpeg": ""})
    header = next(line for line in markdown(noted).splitlines() if line.startswith("| rank"))
    assert [part.strip() for part in header.split("|")][6:8] == ["noise (synthetic)", "jpeg"]
    assert "noise (synthetic)" in screen(noted) and "noise (synthetic)" in latex(noted)
    assert {line["attack"] for line in csv_module.DictReader(io.StringIO(csv(noted)))} == {"clean", "noise", "jpeg"}


def test_marks_are_in_the_csv() -> None:
    table = list(csv_module.DictReader(io.StringIO(csv(with_floor(0.9)))))
    found = {line["method"]: line for line in table if line["condition"] == line["attack"] == "clean"}
    assert [found[row]["not_above_floor"] for row in ("knn", "thumbnail")] == ["True", "False"]
    table = list(csv_module.DictReader(io.StringIO(csv(board()))))
    found = {line["method"]: line for line in table if line["condition"] == line["attack"] == "clean"}
    assert [found[row]["best"] for row in ("knn", "durall20")] == ["True", "False"]
    assert [found[row]["tied_with_best"] for row in ("knn", "durall20")] == ["True", "False"]


@pytest.mark.parametrize(("status", "word"), [("failed", "Failed"), ("timeout", "Timeout"), ("not run", "Not run")])
def test_a_missing_cell_says_why_and_leaves_its_row_unranked(status: Status, word: str) -> None:
    text = markdown(broken("late", status, "out of `memory` |\n <b>"))
    late = lines(text, "late")[0]
    assert late[0] == "not ranked"
    assert late[3].startswith("95.0 [")  # higher than all the rest, yet below
    assert late[5] == f"75.0 → {status} 1/3 (note 2)"
    assert f"\n2. {word}: `out of 'memory' | <b>`.\n" in text
    assert text.index("`thumbnail`") < text.index("`late`")


def test_a_skipped_row_names_its_reason_once() -> None:
    skipped = [lost(cell, "skipped", "needs 128 px") for cell in cells("pose", 0.5)]
    text = markdown(board(*skipped, rows=(row_of("pose"),)))
    assert {*lines(text, "pose")[0][3:4], *lines(text, "pose")[0][5:]} == {"skipped (note 2)"}
    assert text.count("needs 128 px") == 1


def test_cells_of_no_row_and_rows_of_no_cells() -> None:
    text = markdown(board(*cells("stale", 0.99), rows=(row_of("new"),)))
    assert "stale" not in text
    assert {*lines(text, "new")[0][3:4], *lines(text, "new")[0][5:]} == {"not run (note 2)"}


def test_no_cell_is_a_bare_dash() -> None:
    text = markdown(broken("late", "failed", "no"))
    body = [row for row in text.splitlines() if row.startswith("| ")]
    assert not {part.strip() for row in body for part in row.split("|")[1:-1]} & {"", "-", "\u2013", "None", "nan"}


def test_separability_has_its_range_and_is_never_bold() -> None:
    text = markdown(board())
    assert lines(text, "knn")[0][-2:] == ["2.00 [0.90, 1.10]", "20, 4"]
    assert lines(text, "yu19[budget=smoke]")[0][-2:] == ["3.00 [0.70, 1.30]", "20, 4"]  # mean, widest range


def test_undefined_separability_says_why() -> None:
    empty = dict.fromkeys(("fdr", "fdr_equal", "permuted_low", "permuted_high"))
    changed = [
        replace(cell, separability=dict(cell.separability) | empty | {"reason": "0/0: flat"})
        for cell in cells("flat", 0.5)
    ]
    text = markdown(board(*changed, rows=(row_of("flat"),)))
    assert lines(text, "flat")[0][-2] == "undefined (note 2)"
    assert "\n2. FDR undefined: 0/0: flat.\n" in text


def test_header_says_what_the_board_is() -> None:
    text = markdown(board())
    for fact in (
        "**Draft.** `attribution@0`",
        "`photo-mini`, digest `0123456789ab`.",
        "Test images: 80 (dcgan 20, real 20, vae 20, wgan-gp 20) in 40 groups; chance is 25.0.",
        "Ran on: cpu.",
        "gfp-bench 0.1.0, torch 2.6.0",
        "95 % interval, for other images and other seeds",
        "`docs/statistics.md`",
        "`gfp-bench leaderboard photo-mini attribution@0`",
    ):
        assert fact in text
    assert "Draft" not in markdown(replace(board(), draft=False))


def test_devices_that_differ_are_named_with_their_rows() -> None:
    base = board()
    results = tuple(replace(one, device="H200") if one.row == "knn" else one for one in base.results[::-1])
    text = markdown(replace(base, results=results))
    assert "Ran on: H200 (knn); cpu (durall20, thumbnail, yu19[budget=smoke])." in text


def test_without_immunisation_columns_are_plain() -> None:
    base = board()
    clean = tuple(one for one in base.results if one.condition == "clean")
    text = markdown(replace(base, results=clean))
    assert lines(text, "durall20")[0][4] == "30.0"
    assert "immunised" not in text.split("## ")[1]


def test_equal_boards_are_equal_bytes_whatever_the_order() -> None:
    base = board()
    mixed = replace(base, rows=base.rows[::-1], results=base.results[::-1])
    assert markdown(mixed) == markdown(base)
    assert latex(mixed) == latex(base)
    assert csv(mixed) == csv(base)


def test_csv_has_every_cell_at_full_precision() -> None:
    text = csv(broken("late", "failed", "out of memory"))
    table = list(csv_module.DictReader(io.StringIO(text)))
    assert len(table) == len(board().results) + 18
    found = {(line["method"], line["condition"], line["attack"], line["seed"]): line for line in table}
    yu19 = found["yu19[budget=smoke]", "clean", "clean", "1"]
    seeds = [cell.metrics["balanced_accuracy"] for cell in cells("yu19[budget=smoke]", 0.7, 3)[:3]]
    assert float(yu19["balanced_accuracy"]) == seeds[1]
    assert float(yu19["balanced_accuracy.mean_over_seeds"]) == pytest.approx(np.mean(seeds))
    assert float(yu19["balanced_accuracy.sd_over_seeds"]) == np.std(seeds, ddof=1)
    assert (yu19["recall.wgan-gp"], yu19["separability.fdr"], yu19["deviations"]) == (
        "0.75",
        "3.0",
        "20 epochs; no EMA",
    )
    late = found["late", "noise", "noise", "1"]
    assert (late["status"], late["reason"], late["balanced_accuracy"]) == ("failed", "out of memory", "")
    assert "confusion" not in table[0]


def test_csv_columns_are_the_union_over_cells() -> None:
    last = replace(done("last", ("clean", "clean"), 0.1), metrics={"balanced_accuracy": 0.1, "nmi": 0.25})
    table = list(csv_module.DictReader(io.StringIO(csv(board(last, rows=(row_of("last"),))))))
    assert [line["nmi"] for line in table if line["nmi"]] == ["0.25"]


def test_a_bar_in_a_title_does_not_break_the_table() -> None:
    assert r"| `odd[a=b\|c]` |" in " ".join(markdown(board(rows=(row_of("odd[a=b|c]"),))).split())


def test_latex_is_escaped_and_balanced() -> None:
    text = latex(broken("my_method", "failed", "50% of {it} & more"))
    assert r"\texttt{my\_method}" in text
    assert r"\textbf{75.0} [58.6, 86.4] & refit & \textbf{55.0} $\to$ \textbf{65.0}" in " ".join(text.split())
    assert r"\texttt{50\% of \{it\} \& more}" in text
    printed = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not set("†→±*`") & set(printed)
    assert printed.count("{") - printed.count(r"\{") == printed.count("}") - printed.count(r"\}")
    assert printed.count(r"\begin{tabular}") == printed.count(r"\end{tabular}") == printed.count(r"\toprule") == 1


def test_ranks_are_shared_by_equal_methods_only() -> None:
    ranks = {standing.row.title: standing.rank for standing in standings(board())}
    assert ranks == {"knn": 1, "yu19[budget=smoke]": 1, "durall20": 3, "thumbnail": None}


def test_a_board_without_any_result_still_says_so() -> None:
    base = board()
    nothing = replace(base, results=tuple(lost(one, "not run", "") for one in base.results))
    assert "no result yet" in markdown(nothing)
    assert lines(markdown(nothing), "knn")[0][0] == "not ranked"


def test_outcomes_of_other_images_are_refused() -> None:
    cell = done("extra", ("clean", "clean"), 0.5)
    assert cell.outcome is not None
    short = replace(cell, outcome=replace(cell.outcome, kept={"answer": LABELS[:-1]}))
    with pytest.raises(RecordError, match="cell extra clean/clean seed 0 has 79 values of 'answer', expected 80"):
        markdown(board(short, rows=(row_of("extra"),)))


def test_outcomes_that_contradict_the_recorded_metrics_are_refused() -> None:
    cell = replace(done("extra", ("clean", "clean"), 0.5), metrics={"balanced_accuracy": 0.55})
    with pytest.raises(RecordError, match=r"records a balanced accuracy of 0\.55, but its outcomes give 0\.5"):
        markdown(board(cell, rows=(row_of("extra"),)))


def test_timing_sums_over_trials() -> None:
    text = timing_markdown(
        "mini",
        [
            ("knn", Timing(3.0, 412.4e6, 0.0, {"fit": 1.0})),
            ("knn", Timing(2.0, 0.0, 300e6, {"fit": 1.0, "scores": 0.5})),
        ],
        ["timing x is broken"],
    )
    assert lines(text, "knn")[0] == ["`knn`", "2", "5.0", "2.5", "2.5", "2.00", "412"]


def test_the_screen_fits_eighty_columns() -> None:
    text = screen(broken("slow", "timeout", "took longer than 5 s"))
    assert max(map(len, text.splitlines())) <= 80
    assert "timeout" in text
    assert text.splitlines()[4].split()[0] == "1"


def attacked(labels: tuple[str, ...], *, immunised: bool, fall: float = 0.0, **changes: Any) -> Board:
    """The board's rows under other attacks, each attack worse by ``fall``; ``yu19`` is late with all of them."""
    base = board()
    conditions = [("clean", attack) for attack in labels] + [(attack, attack) for attack in labels if immunised]
    shares = {"durall20": 1.0, "knn": 0.75, "thumbnail": 0.5}
    order = ["clean", *labels]
    made = [
        done(row, place, share - fall * order.index(place[1]))
        for row, share in shares.items()
        for place in [("clean", "clean"), *conditions]
    ]
    late = [
        Result(row="yu19[budget=smoke]", condition=condition, column=column, seed=0, status="not run")
        for condition, column in [("clean", "clean"), *conditions]
    ]
    return replace(base, columns=("clean", *labels), results=(*made, *late), **changes)


def test_the_screen_marks_what_is_not_above_the_floor() -> None:
    text = screen(with_floor(0.9))
    assert "75.0‡" in text and "55‡ → 65‡" in text
    assert text.endswith("‡ cannot be shown to be above the best floor of its column.\n")
    assert max(map(len, text.splitlines())) <= 80
    assert "‡" not in screen(board())


def test_six_attacks_fit_eighty_columns() -> None:
    labels = tuple(use.label for use in load_protocol("attribution@1").all_attacks)
    long = row_of(f"frank20[{','.join(f'setting{number}=value' for number in range(5))}]")
    text = screen(attacked(labels, immunised=True, rows=(*board().rows, long)))
    assert max(map(len, text.splitlines())) <= 80
    assert "100 → 100" in text
    assert [text.count(f" {label} ") + text.count(f" {label}\n") for label in labels] == [1] * 6
    rows = [line.split() for line in text.splitlines() if "durall20" in line]
    assert sum(row.count("→") for row in rows) == 6


def test_a_short_board_stays_one_table() -> None:
    text = screen(board())
    assert text.count("knn") == 1
    assert text.count("rank") == 1


def ladders() -> Board:
    """Two ladders of two steps, and an attack that stands in none."""
    labels = ("flip", "jpeg-90", "jpeg-50", "noise-2", "noise-5")
    steps = (
        Ladder(name="jpeg", vary=("low", "high"), severities=(90, 50), axis="quality"),
        Ladder(name="noise", vary=("low", "high"), severities=(2, 5), axis="deviation, grey_levels"),
    )
    return attacked(labels, immunised=False, fall=0.05, ladders=steps, figure="curves.png")


def test_a_ladder_is_a_table_of_its_own() -> None:
    text = markdown(ladders())
    assert "![Accuracy against severity](curves.png)" in text
    main, flip, jpeg, noise = (line[1:] for line in lines(text, "durall20"))
    assert main[1:4] == ["none", "**100.0** [95.2, 100.0]", "**95.0**"]
    assert flip[:1] == ["flip"]
    assert jpeg == ["**100.0**", "**90.0**", "**85.0**"]
    assert noise == ["**100.0**", "**80.0**", "**75.0**"]
    assert "### jpeg: quality\n\n| method " in text
    header = next(line for line in text.split("### noise")[1].splitlines() if line.startswith("| method"))
    assert [part.strip() for part in header.strip("|").split("|")] == ["method", "clean", "2", "5"]
    assert lines(text, "yu19[budget=smoke]")[2][1:] == ["not run (note 2)"] * 3
    assert "no result yet" in text.split("Notes:")[1]
    assert "immunis" not in text


def test_a_ladder_on_the_screen_is_its_two_ends() -> None:
    text = screen(ladders())
    (row,) = [line.split() for line in text.splitlines() if " knn " in line]
    assert row == ["2", "knn", "75.0", "70", "65", "→", "60", "55", "→", "50"]
    assert "its mildest → its harshest step" in text
    assert max(map(len, text.splitlines())) <= 80


def test_ladders_in_latex_and_csv() -> None:
    text = latex(ladders())
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert r"\par{noise: deviation, grey\_levels\par}" in text
    table = list(csv_module.DictReader(io.StringIO(csv(ladders()))))
    found = {line["attack"]: line["balanced_accuracy.low_over_seeds"] for line in table if line["method"] == "durall20"}
    assert set(found) == {"clean", "flip", "jpeg-90", "jpeg-50", "noise-2", "noise-5"}
    assert float(found["noise-5"]) < 0.75 < float(found["jpeg-90"])


def test_leakage_that_a_dataset_allows_is_printed() -> None:
    assert "Leakage" not in markdown(board())
    leaking = replace(board(), leakage=("groups stand in several splits (two cats)",))
    line = "Leakage that the dataset allows: groups stand in several splits (two cats)."
    assert f"- {line}" in markdown(leaking)
    assert f"% {line}" in latex(leaking)
