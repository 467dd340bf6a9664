"""A plan made again from what it says of its rows, and a plan extended by another. Reads classes, runs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from gfp_bench.contracts.settings import parse_spec
from gfp_bench.engine.plan import CORE_VERSION, Plan, Row, Trial, digest, make_plan
from gfp_bench.errors import UsageError
from gfp_bench.protocols.protocol import Protocol

if TYPE_CHECKING:
    from gfp_bench.data.manifest import Manifest
    from gfp_bench.registry.plugins import Plugins

RowKey: TypeAlias = tuple[str, str]
"""A method and the digest of its settings: what a row is, whatever it is called."""


def row_key(row: Row | Trial) -> RowKey:
    """Return which row something is of."""
    return row.method, digest(row.settings)


def seeds_of(plan: Plan, row: Row) -> tuple[int, ...]:
    """Return the seeds of a row's trials, sorted."""
    return tuple(sorted({trial.seed for trial in plan.trials if trial.row == row.title}))


def planned_again(
    plan: Plan, protocol: Protocol, manifests: Mapping[str, "Manifest"], plugins: "Plugins"
) -> tuple[Plan, list[str]]:
    """Return the plan that the rows and seeds of one ask for today, and the titles of rows whose plugin is not here.

    Args:
        plan: Whose rows, under their titles, and seeds are taken.
        protocol: The recipe.
        manifests: The datasets that are read, by name.
        plugins: Where methods and attacks are looked up.

    Raises:
        UsageError: If a row's title does not say its settings, or the task cannot be put to the dataset.
    """
    absent = [row.title for row in plan.rows if row.method not in plugins.methods]
    by_seeds: dict[tuple[int, ...], list[Row]] = {}
    for row in plan.rows:
        if row.title not in absent:
            by_seeds.setdefault(seeds_of(plan, row), []).append(row)
    others = {name: manifests[name] for name in plan.task.datasets}
    rows: dict[RowKey, Row] = {}
    trials: list[Trial] = []
    for seeds, own in by_seeds.items():
        asked = [parse_spec(row.title) for row in own]
        made = make_plan(
            manifests[plan.dataset], protocol, asked, plugins, seeds=seeds, limit=plan.limit, others=others
        )
        wanted = {row_key(row) for row in own}
        if lacking := wanted - {row_key(row) for row in made.rows}:
            titles = [row.title for row in own if row_key(row) in lacking]
            raise UsageError(f"the row {titles[0]!r} has other settings than its title asks for today")
        rows |= {row_key(row): row for row in made.rows if row_key(row) in wanted}
        trials += [trial for trial in made.trials if row_key(trial) in wanted]
    kept = tuple(rows[row_key(row)] for row in plan.rows if row_key(row) in rows)
    again = replace(plan, protocol=protocol, rows=kept, trials=_ordered(kept, trials))
    return replace(again, digest=manifests[plan.dataset].digest, core=CORE_VERSION), absent


def extended(first: Plan, second: Plan) -> Plan:
    """Return a plan with the rows and trials of both; what both have is the first's, under the first's titles.

    Raises:
        UsageError: If they are of other datasets, protocols or limits.
    """
    for what in ("dataset", "digest", "protocol", "limit"):
        if getattr(first, what) != getattr(second, what):
            told = "" if what == "protocol" else f": {getattr(first, what)} and {getattr(second, what)}"
            raise UsageError(
                f"{second.name} cannot be added to {first.name}, they differ in their {what}{told}; run with the same"
            )
    own = {row_key(row): row for row in first.rows}
    rows = (*first.rows, *(row for row in second.rows if row_key(row) not in own))
    titles = {row_key(row): row.title for row in rows}
    known = {trial.key for trial in first.trials}
    added = [replace(trial, row=titles[row_key(trial)]) for trial in second.trials if trial.key not in known]
    given = replace(
        first.given,
        datasets=second.given.datasets | first.given.datasets,
        protocol=first.given.protocol or second.given.protocol,
        plugins=tuple(dict.fromkeys((*first.given.plugins, *second.given.plugins))),
    )
    return replace(first, rows=rows, trials=_ordered(rows, [*first.trials, *added]), given=given)


def _ordered(rows: Sequence[Row], trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return trials by row, then by seed, as a plan has them."""
    place = {row_key(row): number for number, row in enumerate(rows)}
    return tuple(sorted(trials, key=lambda trial: (place[row_key(trial)], trial.seed)))
