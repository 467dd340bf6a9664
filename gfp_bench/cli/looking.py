"""`list`, `info`, `check`, `mosaic`, `doctor`: what there is, and whether it is sound."""

import json
import os
import platform
import secrets
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from gfp_bench import __version__
from gfp_bench.cli.options import Output, PluginFiles, cache, data_folders, named_dataset, named_manifest, results
from gfp_bench.cli.output import ExitCode, say, stop
from gfp_bench.errors import unknown

if TYPE_CHECKING:
    from gfp_bench.checks import Finding
    from gfp_bench.contracts.images import ImageSet
    from gfp_bench.contracts.settings import Setting
    from gfp_bench.pictures import Use
    from gfp_bench.registry.plugins import Plugins

app = typer.Typer()


@app.command("list")
def list_command(
    broken: Annotated[bool, typer.Option("--broken", help="Third-party plugins that do not load, and why.")] = False,
    plugin: PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """List methods, attacks, generators, datasets and protocols."""
    from gfp_bench.data.catalogue import dataset_names
    from gfp_bench.protocols.protocol import protocol_names
    from gfp_bench.registry.discovery import survey_plugins
    from gfp_bench.texts import clean_line

    plugins = survey_plugins(plugin or ())
    if broken:
        for one in plugins.broken:
            say("\n".join([str(one), *map(clean_line, (one.traceback or one.reason).splitlines())]))
        if not plugins.broken:
            say("no broken plugins")
        return
    found = {
        "methods": plugins.methods,
        "attacks": plugins.attacks,
        "generators": plugins.generators,
        "datasets": dataset_names(data_folders()),
        "protocols": protocol_names(),
    }
    if as_json:
        say(json.dumps(found, indent=1))
        return
    for kind, names in found.items():
        say(f"{kind}: {', '.join(names) or 'none'}")
    if plugins.broken:
        say(f"broken: {', '.join(map(str, plugins.broken))} (gfp-bench list --broken says why)")


@app.command()
def info(
    name: str,
    plugin: PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what a method, attack or generator is: its source, its settings, what differs from the paper."""
    from gfp_bench.registry.discovery import survey_plugins
    from gfp_bench.texts import clean_line

    plugins = survey_plugins(plugin or ())
    entry = plugins.entry(name)
    facts = {"name": name, "kind": entry.kind, "origin": entry.origin} | plugins.described(name)
    if as_json:
        say(json.dumps(facts, indent=1))
        return
    description = "\n".join(map(clean_line, str(facts["description"]).splitlines()))
    say(f"{name} ({entry.kind}, version {facts['version']}, {entry.origin})\n\n{description}\n")
    for one in facts["settings"].values():
        for text, indent in ((f"{one['name']} = {one['default']} ({one['expected']})", 2), (one["explanation"], 6)):
            if text:
                say(fill(clean_line(text), 80, initial_indent=" " * indent, subsequent_indent=" " * 6))
    for deviation in facts["deviations"]:
        say(f"  deviates: {clean_line(deviation)}")


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="A method, an attack or a generator: name, name[key=value,...] or name:PATH.")
    ],
    traceback: Annotated[bool, typer.Option("--traceback", help="The whole traceback of each failure.")] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a plugin which gfp-bench does not bring may take.")
    ] = 3600,
    plugin: PluginFiles = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="Run a method on copies of a dataset in which there is nothing to find.")
    ] = False,
    dataset: Annotated[
        str, typer.Option("-d", "--dataset", help="Of the canary: a name, or a manifest's path.")
    ] = "photo-mini",
    seed: Annotated[int | None, typer.Option(min=0, help="Of the canary's dealing; a new one by default.")] = None,
    output: Output = None,
) -> None:
    """Run the contract checks on a plugin and say what failed, where and why."""
    from gfp_bench.checks import Finding, by_cause, found_in
    from gfp_bench.registry.discovery import survey_plugins
    from gfp_bench.zoo.training import parse_generator

    plain, given = parse_generator(name)
    plugins = survey_plugins(plugin or (), limit=timeout)
    if canary:
        _canary(plain, given, plugins, dataset, seed, output or results())
        return
    findings = [Finding(**one | {"cause": tuple(one["cause"])}) for one in plugins.asked(found_in, plain, given)]
    for group in by_cause(findings):
        _say_group(group, tracebacks=traceback)
    failed, untried = (sum(one.outcome == outcome for one in findings) for outcome in ("FAILED", "not checked"))
    if failed:
        stop(ExitCode.CHECK_FAILED, f"{plain!r} failed {failed} of {len(findings)} checks")
    if untried:
        say(f"{plain} passed {len(findings) - untried} of {len(findings)} checks; {untried} could not be tried")
    else:
        say(f"{plain} passed all {len(findings)} checks")


def _canary(
    name: str, given: "Mapping[str, Setting]", plugins: "Plugins", dataset: str, seed: int | None, folder: Path
) -> None:
    """Run the canary, keep and print what it found; exit with `ExitCode.CHECK_FAILED` if that is above chance."""
    from gfp_bench.cli.progress import RunDisplay
    from gfp_bench.engine.canary import canary, keep_canary, told
    from gfp_bench.engine.runner import Options

    dealt = secrets.randbelow(2**32) if seed is None else seed
    manifest = named_manifest(dataset)
    with TemporaryDirectory(prefix="gfp-bench-canary-") as scratch, RunDisplay() as display:
        options = Options(manifests={}, cache=cache(), results=Path(scratch))
        found = canary((name, given), manifest, plugins, options, dealt, display.report)
    path = keep_canary(folder, found)
    say(f"canary of {name} on {manifest.name}, --seed {dealt}, kept as {path}")
    for sentence in told(found):
        say(f"  {sentence}")
    if not found.passed:
        stop(ExitCode.CHECK_FAILED, f"{name!r} finds what train does not teach: it has it from elsewhere")
    say(f"{name} knows nothing of the test images but what train teaches")


def _say_group(findings: "list[Finding]", *, tracebacks: bool) -> None:
    """Print findings of one cause."""
    from gfp_bench.texts import clean_line

    first, why = findings[0], "\n".join(map(clean_line, findings[0].why.splitlines()))
    say(f"{first.outcome}  {', '.join(finding.check for finding in findings)}" + (why and f": {why}"))
    if first.place:
        say(f"        {clean_line(first.place)}")
    for finding in findings if tracebacks else ():
        if finding.traceback:
            say("\n" + "\n".join(map(clean_line, f"{finding.check}: {finding.traceback}".splitlines())))


@app.command("mosaic")
def mosaic_command(
    out: Annotated[Path, typer.Option(help="The picture, by its ending PNG, WebP, ...")],
    attack: Annotated[
        list[str] | None,
        typer.Option("-a", "--attack", help="name or name[key=value,...]; all by default; repeatable."),
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option("-p", "--protocol", help="Take this protocol's attacks and ladders; repeatable.")
    ] = None,
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Name, or a manifest's path.")] = "photo-mini",
    split: Annotated[str, typer.Option(help="Where the images are taken from.")] = "val",
    image: Annotated[
        list[str] | None, typer.Option(help="An image's id; one of each source by default; repeatable.")
    ] = None,
    scale: Annotated[int, typer.Option(min=1, help="How many pixels one pixel becomes across and down.")] = 2,
    plugin: PluginFiles = None,
) -> None:
    """Draw some images under attacks, to the bit as a run attacks them: one row per attack, one column per severity."""
    from gfp_bench.pictures import mosaic
    from gfp_bench.registry.discovery import load_plugins

    plugins = load_plugins(plugin or ())
    images = _chosen(named_dataset(dataset).split(split), image)
    chosen = attack or ([] if protocol else list(plugins.attacks))
    sheet = mosaic(images, _uses(plugins, protocol or (), chosen), scale=scale)
    sheet.save(out, lossless=True, optimize=True)  # the one is for WebP, the other for PNG
    say(str(out))


def _chosen(images: "ImageSet", ids: list[str] | None) -> "ImageSet":
    """Return the images of some ids, or the first one of each source."""
    if ids is None:
        labels = images.labels.tolist()
        return images.subset(sorted(map(labels.index, set(labels))))
    for one in ids:
        if one not in images.ids:
            raise unknown("image", one, images.ids)
    return images.subset([images.ids.index(one) for one in ids])


def _uses(plugins: "Plugins", protocols: Sequence[str], specs: Sequence[str]) -> "list[Use]":
    """Return the attacks of some protocols, with their seeds, then those of ``specs``."""
    from gfp_bench.contracts.settings import parse_spec, resolved_settings
    from gfp_bench.pictures import Use
    from gfp_bench.protocols.protocol import load_protocol

    uses = []
    for protocol in map(load_protocol, protocols):
        rows = [(use.name, use) for use in protocol.attacks]
        rows += [(f"{ladder.name}: {ladder.axis}", step) for ladder in protocol.ladders for step in ladder.steps]
        for row, use in rows:
            cls = plugins.attack(use.name)
            made = cls(**resolved_settings(cls, use.settings))
            uses.append(Use(row, use.label, made, protocol.attack_seed))
    for spec in specs:
        name, given = parse_spec(spec)
        cls = plugins.attack(name)
        title = "\n".join(f"{key}={value}" for key, value in given.items()) or "default"
        uses.append(Use(name, title, cls(**resolved_settings(cls, given)), 0))
    return uses


@app.command()
def doctor() -> None:
    """Say what a bug report needs: versions, devices, folders, broken plugins."""
    import torch

    from gfp_bench.engine.landlock import landlock_version
    from gfp_bench.registry.discovery import survey_plugins

    packages = ("torch", "numpy", "scipy", "scikit-learn", "pillow", "opencv-python-headless", "pluggy", "timm", "dask")
    say(f"gfp-bench {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for package in packages:
        say(f"  {package}: {_version(package)}")
    count = torch.cuda.device_count()
    devices = [f"{torch.cuda.get_device_name(i)} (CUDA {torch.version.cuda})" for i in range(count)]
    say(f"devices: {', '.join(devices) or 'cpu only'}; {len(os.sched_getaffinity(0))} cores")
    for what, folder in (("results", results()), ("cache", cache())):
        say(f"{what}: {folder} ({_room(folder)})")
    version = landlock_version()
    kept = f"Landlock, version {version}" if version else "nothing: this kernel has no Landlock, or it is off"
    say(f"methods are kept from datasets and records by {kept}")
    broken = survey_plugins().broken
    say(f"broken plugins: {', '.join(map(str, broken)) or 'none'}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _room(folder: Path) -> str:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    writable = "writable" if os.access(place, os.W_OK) else "NOT WRITABLE"
    return f"{writable}, {shutil.disk_usage(place).free / 1e9:.1f} GB free"
