"""The question whether an image is real: thresholds from validation, too few negatives said."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from gfp_bench.boards.board import Board, Result
from gfp_bench.boards.formats import csv, markdown
from gfp_bench.boards.ranking import standings
from gfp_bench.contracts.task import Outcome, Shown
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.plan import Row, make_plan
from gfp_bench.errors import UsageError
from gfp_bench.protocols.protocol import load_protocol
from gfp_bench.registry.discovery import load_plugins
from gfp_bench.tasks.detection import Detection

SOURCES = ("gan", "real", "vae")
TASK = Detection()


def outcome(each: int, *, shift: float = 1.0, seed: int = 0, calibration: Outcome | None = None) -> Outcome:
    """Scores of which that of the right source is raised by ``shift``."""
    rng = np.random.default_rng(seed)
    labels = np.arange(3 * each) % 3
    scores = (rng.normal(size=(3 * each, 3)) + shift * np.eye(3)[labels]).astype(np.float32)
    shown = Shown(labels=labels, groups=np.arange(3 * each), sources=SOURCES)
    kept = TASK.keep(scores, shown, SOURCES)
    return Outcome(kept=kept, shown=shown, known=SOURCES, calibration=calibration)


def test_metrics_are_those_of_scikit_learn() -> None:
    val = outcome(30, seed=1)
    test = outcome(40, calibration=val)
    found = TASK.metrics(test)
    generated, scores = test.shown.labels != 1, -test.kept["margin"]
    assert found["auroc"] == pytest.approx(roc_auc_score(generated, scores))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(generated, scores >= found["threshold"]))
    flagged = scores >= found["threshold"]
    assert found["flagged"] == pytest.approx([flagged[test.shown.labels == source].mean() for source in range(3)])
    assert (found["n_real"], found["n_generated"]) == (40, 80)


def test_the_threshold_comes_from_validation_and_from_nothing_else() -> None:
    val = outcome(30, seed=1)
    first, second = (TASK.metrics(outcome(40, seed=seed, calibration=val)) for seed in (2, 3))
    assert first["threshold"] == second["threshold"]
    assert first["threshold"] != TASK.metrics(outcome(40, seed=2, calibration=outcome(30, seed=4)))["threshold"]
    alone = TASK.metrics(val)
    assert (alone["threshold"], alone["balanced_accuracy"], alone["flagged"]) == (None, None, None)
    assert "no threshold" in alone["undefined"]["balanced_accuracy"]


@pytest.mark.parametrize(("each", "missing"), [(19, 2), (20, 1), (99, 1), (100, 0)])
def test_too_few_negatives_are_said(each: int, missing: int) -> None:
    found = TASK.metrics(outcome(each, calibration=outcome(9)))
    assert sum(found[key] is None for key in ("tpr_at_fpr_1", "tpr_at_fpr_5")) == missing == len(found["undefined"])
    if missing:
        assert found["undefined"]["tpr_at_fpr_1"] == (f"too few negatives: {each} real images, expected at least 100")


def test_every_measure_is_resampled() -> None:
    test = outcome(100, calibration=outcome(20, seed=5))
    found = TASK.metrics(test)
    once = np.ones((1, 300))
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(300, np.full(300, 1 / 300), size=200).astype(float)
    for measure in TASK.measures:
        assert TASK.resampled(test, measure.key, once)[0] == pytest.approx(found[measure.key])
        values = TASK.resampled(test, measure.key, drawn)
        assert values.shape == (200,)
        assert np.quantile(values, 0.005) < found[measure.key] < np.quantile(values, 0.995)


def board(each: int = 40) -> Board:
    val = outcome(20, seed=9)
    shown = outcome(each).shown
    rows = {"good": 3.0, "near": 2.8, "bad": 0.2}
    results = []
    for row, shift in rows.items():
        for column, less in (("clean", 0.0), ("noise", 0.5)):
            made = outcome(each, shift=shift - less, calibration=val)
            one = Outcome(kept=made.kept, shown=shown, known=SOURCES, calibration=val)
            results.append(
                Result(
                    row=row, condition="clean", column=column, seed=0, status="done", outcome=one,
                    metrics=TASK.metrics(one), device="cpu",
                )
            )  # fmt: skip
    return Board(
        dataset="toy", digest="0" * 64, protocol="detection@1", draft=False, task=TASK, shown=shown,
        columns=("clean", "noise"), rows=tuple(Row(title=row, method=row, settings={}) for row in rows),
        results=tuple(results), provenance=(), rederive="",
    )  # fmt: skip


def test_boards_show_every_measure_with_its_interval() -> None:
    found = board()
    text = markdown(found, standings(found))
    assert "AUROC in percent, averaged over seeds." in text
    assert "chance is 50.0." in text
    assert "FDR" not in text
    section = text.split("## Clean, every measure")[1].split("##")[0]
    header, _, *lines = [line for line in section.splitlines() if line.startswith("|")]
    titles = [part.strip() for part in header.strip("|").split("|")]
    assert titles == ["method", *(measure.title for measure in TASK.measures)]
    good = [part.strip() for part in lines[0].strip("|").split("|")]
    assert good[0] == "`good`"
    assert good[5] == "undefined (note 1)"
    assert good[6].startswith("**")
    assert "[" in good[2] and "]" in good[2]
    assert "1. Undefined: too few negatives: 40 real images, expected at least 100." in text


def test_the_lowest_error_is_the_best_and_rank_follows_the_headline() -> None:
    found = {standing.row.title: standing for standing in standings(board())}
    assert {title: standing.rank for title, standing in found.items()} == {"good": 1, "near": 2, "bad": 3}
    errors = {title: standing.measures["eer"] for title, standing in found.items()}
    assert errors["good"].best and not errors["bad"].best
    assert errors["good"].value < errors["bad"].value
    assert errors["near"].tied and not errors["bad"].tied


def test_csv_has_shares_by_source() -> None:
    found = board()
    header, first, *_ = csv(found, standings(found)).splitlines()
    assert {"auroc.mean_over_seeds", "flagged.gan", "flagged.real", "threshold"} <= set(header.split(","))
    assert first.startswith("toy,")


def test_a_dataset_without_real_images_is_refused(toy: Manifest) -> None:
    without = toy.model_copy(update={"sources": {"gan-a": {}, "gan-b": {}}})
    with pytest.raises(UsageError, match="dataset 'toy' has sources gan-a, gan-b, expected 'real' and others"):
        make_plan(without, load_protocol("detection@1"), [("knn", {})], load_plugins())


def test_immunised_fits_are_calibrated_under_their_own_attack(toy: Manifest) -> None:
    plan = make_plan(toy, load_protocol("detection@1"), [("knn", {})], load_plugins())
    for trial in plan.trials:
        first, *others = trial.cells
        assert (first.split, first.calibration, first.attack) == ("val", True, trial.condition)
        assert not any(cell.calibration or cell.split != "test" for cell in others)
