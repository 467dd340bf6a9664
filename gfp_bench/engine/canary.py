"""The canary: a method is run where there is nothing to find. One that finds something has it from elsewhere.

Two arms. Test labels, names, files and order are dealt anew: what is right then was read out of the harness or the
dataset. And labels of train and val are dealt per image, all else left as it is: what is right on test then was not
learnt from train.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from scipy.stats import binomtest

from gfp_bench.contracts.settings import Setting
from gfp_bench.data.dataset import Dataset
from gfp_bench.data.dealing import deal_test, deal_train
from gfp_bench.data.manifest import Manifest
from gfp_bench.documents import Document, checked, read_json
from gfp_bench.engine.events import Report
from gfp_bench.engine.outcomes import Truth, outcomes
from gfp_bench.engine.plan import digest, make_plan
from gfp_bench.engine.records import Store, to_json
from gfp_bench.engine.runner import Options, run
from gfp_bench.errors import PluginError, RecordError, UsageError
from gfp_bench.files import write_atomically
from gfp_bench.protocols.protocol import load_protocol
from gfp_bench.registry.code import code_digest
from gfp_bench.registry.plugins import Plugins

LEVEL = 0.01
"""How often an honest method fails an arm."""

_RENAMINGS = 9999  # of the sources, under which the second arm's accuracy is compared
_SURE = LEVEL / 2  # how rare the strictest outcome must be, so that it can be told
_FOLDER = "canary"


class Arm(Document):
    """What one arm found.

    Attributes:
        name: ``test`` or ``train``: which labels were dealt.
        dealings: How often the method was fitted.
        images: Test images scored each time.
        accuracy: The share of right answers (``test``) or the balanced accuracy (``train``), over all dealings.
        chance: What it is on average for a method that knows nothing.
        low: Lower end of the exact 98 % interval (``test``), or None.
        high: Its upper end; for ``train`` what 99 % of renamings of the sources stay at or below.
        p: The one-sided probability of so much or more by chance.
        above_chance: Whether that is below `LEVEL`.
    """

    name: str
    dealings: int
    images: int
    accuracy: float
    chance: float
    low: float | None
    high: float
    p: float
    above_chance: bool


class Canary(Document):
    """The result for one method, its code and one dataset.

    Attributes:
        schema_version: Of this layout.
        method: The method's name.
        settings: All of its settings.
        code: A checksum of its files, see `gfp_bench.registry.code`.
        dataset: The dataset's name.
        digest: What identifies its content.
        seed: Of the dealing.
        arms: What was found.
    """

    schema_version: int = 1
    method: str
    settings: dict[str, Setting]
    code: str
    dataset: str
    digest: str
    seed: int
    arms: tuple[Arm, ...]

    @property
    def passed(self) -> bool:
        """Whether no arm is above chance."""
        return not any(arm.above_chance for arm in self.arms)


def canary(
    method: tuple[str, Mapping[str, Setting]],
    manifest: Manifest,
    plugins: Plugins,
    options: Options,
    seed: int,
    report: Report,
) -> Canary:
    """Run both arms in new folders below ``options.results``, and return what they found.

    Args:
        method: Its name, and the settings that differ from the defaults.
        manifest: The dataset.
        plugins: Where the name is looked up.
        options: How it is run; ``cache`` is where the dataset's own images are decoded.
        seed: Of the dealing.
        report: Takes the events of the runs.

    Raises:
        UsageError: If the method is unknown or cannot run on the dataset, or that is too small.
        PluginError: If the method fails.
    """
    scratch, names = options.results, manifest.source_names
    rng = np.random.Generator(np.random.Philox(seed))
    copy = deal_test(manifest, Dataset(manifest, options.cache).pixels(), scratch / "test" / "data", rng)
    arms = [arm_of_test(*_answers(method, copy, plugins, options, scratch / "test", report), len(names))]
    shown = []
    for number in range(dealings(len(names))):
        folder = scratch / f"train-{number}"
        copy = deal_train(manifest, folder / "data", rng)
        shown.append(_answers(method, copy, plugins, options, folder, report))
    arms.append(arm_of_train(shown, len(names), seed))
    declared = plugins.declared_method(*method)
    return Canary(
        method=method[0],
        settings=declared.settings,
        code=plugin_digest(plugins, method[0], declared.settings),
        dataset=manifest.name,
        digest=manifest.digest,
        seed=seed,
        arms=tuple(arms),
    )


def dealings(sources: int) -> int:
    """Return how often train is dealt: so often that naming every source right is rare under renaming."""
    return math.ceil(math.log(1 / _SURE) / math.lgamma(sources + 1))


def arm_of_test(answers: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], sources: int) -> Arm:
    """Return what answers tell of labels that were dealt to each image: hits are binomial, whatever the answers."""
    hits = int((answers == labels).sum())
    found = binomtest(hits, len(labels), 1 / sources, alternative="greater")
    ends = binomtest(hits, len(labels), 1 / sources).proportion_ci(1 - 2 * LEVEL, method="exact")
    return Arm(
        name="test",
        dealings=1,
        images=len(labels),
        accuracy=hits / len(labels),
        chance=1 / sources,
        low=float(ends.low),
        high=float(ends.high),
        p=float(found.pvalue),
        above_chance=bool(found.pvalue < LEVEL),
    )


def arm_of_train(shown: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], sources: int, seed: int) -> Arm:
    """Return what answers tell of true labels after labels that were dealt had been learnt, over all dealings.

    Answers are not independent: a method may give one name to all images of a source. But which name is chance, since
    names were dealt evenly. So the balanced accuracy is compared with those under random renamings of the sources.

    Args:
        shown: For each dealing (n,) answers and (n,) true labels.
        sources: How many sources there are.
        seed: Of the renamings.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    own, others = 0.0, np.zeros(_RENAMINGS)
    for answers, labels in shown:
        shares = _shares(answers, labels, sources)
        own += float(shares.diagonal().mean()) / len(shown)
        renamings = rng.permuted(np.tile(np.arange(sources), (_RENAMINGS, 1)), axis=1)
        others += shares[np.arange(sources), renamings].mean(axis=1) / len(shown)
    p = (1 + int((others >= own - 1e-12).sum())) / (1 + _RENAMINGS)
    return Arm(
        name="train",
        dealings=len(shown),
        images=len(shown[0][1]),
        accuracy=own,
        chance=1 / sources,
        low=None,
        high=float(np.quantile(others, 1 - LEVEL, method="higher")),
        p=p,
        above_chance=p < LEVEL,
    )


def _shares(
    answers: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], sources: int
) -> Float[np.ndarray, "s s"]:
    """Return for each true source the share of its images that got each name."""
    counts = np.bincount(labels * sources + answers, minlength=sources**2).reshape(sources, sources)
    shares: Float[np.ndarray, "s s"] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _answers(
    method: tuple[str, Mapping[str, Setting]],
    copy: Manifest,
    plugins: Plugins,
    options: Options,
    folder: Path,
    report: Report,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run a method on a copy as any trial is run; return its answers and the copy's labels."""
    changes = {"attacks": (), "immunise": False, "seeds": (0,)}
    plan = make_plan(copy, load_protocol("attribution@1").model_copy(update=changes), [method], plugins)
    (trial,) = (trial for trial in plan.trials if trial.method == method[0])
    if trial.skip:
        raise UsageError(f"method {method[0]!r} cannot run on {copy.name!r}: {trial.skip}; choose another dataset")
    cache = folder / "cache"
    Dataset(copy, cache).pixels()
    alone = replace(plan, trials=(trial,), rows=tuple(row for row in plan.rows if row.title == trial.row))
    own = replace(
        options,
        manifests={copy.name: copy.file},
        digests={copy.name: copy.digest},
        cache=cache,
        results=folder / "results",
        plugins=plugins,
    )
    run(alone, own, report)
    store = Store(folder / "results")
    found = list(outcomes(store, trial, plan.task, Truth({copy.name: copy}, None)))
    if not found:
        failure = store.failure(trial, trial.cells[0])
        raise PluginError(f"method {method[0]!r} failed: {failure.reason if failure else 'it was interrupted'}")
    outcome = found[0][2]
    return outcome.kept["answer"].astype(np.int64), outcome.shown.labels


def plugin_digest(plugins: Plugins, method: str, settings: Mapping[str, Setting]) -> str:
    """Return a checksum of the files that a method consists of."""
    told = plugins.told(method, settings)
    return code_digest({f"{name}: {file}": sha for name, one in told.items() for file, sha in one["files"].items()})


def canary_file(root: Path, method: str, settings: Mapping[str, Setting], code: str, dataset: str) -> Path:
    """Return where a result lies below a results folder or published records, by all that it depends on."""
    key = digest({"method": method, "settings": dict(settings), "code": code, "digest": dataset})
    return root / _FOLDER / f"{method}-{key[:16]}.json"


def keep_canary(root: Path, found: Canary) -> Path:
    """Write a result below a results folder and return its file."""
    path = canary_file(root, found.method, found.settings, found.code, found.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_json(found.model_dump(mode="json")))
    return path


def read_canary(root: Path, method: str, settings: Mapping[str, Setting], code: str, dataset: str) -> Canary | None:
    """Return the result that was kept for a method with this code on a dataset of this digest, if there is one.

    Raises:
        RecordError: If it is damaged, or another's.
    """
    path = canary_file(root, method, settings, code, dataset)
    data: Any = read_json(path)
    if data is None:
        return None
    if not isinstance(data, dict):
        raise RecordError(f"{path} is no table; delete it and run the canary again")
    found = checked(data, Canary, subject=str(path), error=RecordError)
    if (found.method, found.settings, found.code, found.digest) != (method, dict(settings), code, dataset):
        raise RecordError(f"{path} is the canary of another method, code or dataset; delete it and run it again")
    return found


def told(found: Canary) -> list[str]:
    """Return each arm in a sentence, as the command and a board say it."""
    sentences = []
    for arm in found.arms:
        verdict = "ABOVE CHANCE" if arm.above_chance else "at chance"
        if arm.name == "test":
            where = f"{arm.images} test labels dealt anew: {100 * arm.accuracy:.1f} % right, exact 98 % interval "
            where += f"{100 * (arm.low or 0):.1f} to {100 * arm.high:.1f}"
        else:
            times = "once" if arm.dealings == 1 else f"{arm.dealings} times"
            where = f"train labels dealt per image, {times}: {100 * arm.accuracy:.1f} % balanced on true test labels, "
            where += f"99 % of renamings of the sources stay at or below {100 * arm.high:.1f}"
        sentences.append(f"{where}; chance is {100 * arm.chance:.1f}: {verdict} (p = {arm.p:.2g}, level {LEVEL:g})")
    return sentences
