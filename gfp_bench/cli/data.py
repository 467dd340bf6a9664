"""`data info | index | verify | audit | measure | contact-sheet`: what a dataset is, and whether it is what it says."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gfp_bench.cli.options import PluginFiles, cache, data_folders, named_dataset, named_manifest
from gfp_bench.cli.output import say, tell

app = typer.Typer(no_args_is_help=True, help="Describe, index and verify datasets.")

Name = Annotated[str, typer.Argument(help="name[key=value,...] or a manifest's path.")]


@app.command()
def info(name: Name) -> None:
    """Print a dataset's manifest."""
    manifest = named_manifest(name)
    say(f"{manifest.name}: {manifest.description}")
    say(f"sources: {', '.join(manifest.source_names)}")
    say(f"images: {', '.join(f'{count} {split}' for split, count in manifest.splits.items())}, {manifest.image_shape}")
    say(f"licence: {manifest.licence}")
    say(f"digest: {manifest.digest}")
    say(f"files: {manifest.root}")


@app.command()
def index(
    folder: Annotated[
        Path, typer.Argument(help="Holds <split>/<source>/** or <source>.zip; with --shares without <split>.")
    ],
    name: Annotated[str, typer.Argument(help="The new dataset's name.")],
    shares: Annotated[
        str | None,
        typer.Option(help="Of train,val,test, as 0.6,0.2,0.2: splits are drawn, groups stay whole."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the splits.")] = 0,
    group: Annotated[
        str | None, typer.Option(help="A regular expression; its parentheses name an image's group.")
    ] = None,
    shared_groups: Annotated[
        str, typer.Option(help="Why groups may stand in several splits; boards print it. They may not by default.")
    ] = "",
    convert: Annotated[bool, typer.Option("--convert", help="Take files that are not 8-bit RGB.")] = False,
    crop: Annotated[str | None, typer.Option(help="As center:128.")] = None,
    resize: Annotated[str | None, typer.Option(help="As 64:lanczos.")] = None,
    description: Annotated[str, typer.Option(help="One sentence.")] = "",
    licence: Annotated[str, typer.Option(help="Of the images.")] = "unknown",
    citation: Annotated[str, typer.Option(help="What to cite.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="The folder of the manifest and its index; beside the images by default.")
    ] = None,
) -> None:
    """Check every image below a folder; write <name>.toml and <name>.parquet beside it.

    Indexing again keeps what you wrote into the manifest: texts and metadata of sources.
    """
    from gfp_bench.data.decoding import make_view
    from gfp_bench.data.indexing import index_folder
    from gfp_bench.data.manifest import About

    manifest = index_folder(
        folder,
        name,
        folder=out,
        about=About(description, licence, citation),
        view=make_view(convert=convert, crop=crop, resize=resize),
        group=group,
        shared_groups=shared_groups,
        shares=_dealt(shares) if shares else None,
        seed=seed,
        note=tell,
    )
    tell(f"wrote {manifest.file} and {manifest.index_file}")
    say(str(manifest.file))


def _dealt(shares: str) -> dict[str, float]:
    """Return the share of each split."""
    from gfp_bench.data.layouts.folders import SPLITS

    parts = shares.split(",")
    if len(parts) != len(SPLITS) or not all(part.replace(".", "", 1).isdigit() for part in parts):
        raise typer.BadParameter(f"{shares!r}: expected three shares, as 0.6,0.2,0.2", param_hint="--shares")
    return dict(zip(SPLITS, map(float, parts), strict=True))


@app.command()
def verify(name: Name) -> None:
    """Read every file again and compare it with the index; compare the cache with what it was when it was filled."""
    from gfp_bench.data import audit

    data = named_dataset(name)
    say(f"{data.name}: all {audit.verify(data.manifest)} files are what the index says")
    if cached := data.verify_cache():
        say(f"{data.name}: all {cached} decoded images in {data.cache} are what they were")


@app.command()
def audit(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="One object per source.")] = False,
) -> None:
    """Compare the sources by what has nothing to do with fingerprints: how files were written, sizes; find doubles."""
    from tabulate import tabulate

    from gfp_bench.data import audit
    from gfp_bench.data.coding import DETAILS

    manifest = named_manifest(name)
    files = audit.file_facts(manifest)
    table = audit.profiles(files)
    if as_json:
        say(json.dumps(table.to_dict("records"), indent=1))
        return
    shown = table.drop(columns=list(DETAILS))
    say(tabulate(shown.to_dict("records"), headers="keys", tablefmt="simple"))
    for leak in audit.leaks(table):
        tell(f"leak: {leak}")
    if {"train", "val"} <= set(manifest.splits):
        for what, (accuracy, low, high) in audit.told_by_files(files).items():
            tell(
                f"files alone, by their {what}, name the source of {100 * accuracy:.1f} % on val (95 %: "
                f"{100 * low:.1f} to {100 * high:.1f}); chance is {100 / len(table):.1f} %"
            )
    for sentence in [*audit.look_alikes(manifest), *manifest.allowed_leakage]:
        tell(f"leakage: {sentence.removeprefix('look: ')}")


@app.command()
def measure(
    name: Name,
    split: Annotated[str, typer.Option(help="The held-out images that distances are measured on.")] = "val",
    pool: Annotated[
        str | None, typer.Option(help="What generators learnt from: a dataset's real training images, or photographs.")
    ] = None,
    plugin: PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Measure what a dataset's card should say: distances, memorisation, the floor, what files give away."""
    from gfp_bench.data.card import markdown, measured
    from gfp_bench.registry.discovery import load_plugins
    from gfp_bench.zoo.pool import find_pool

    plugins = load_plugins(plugin or ())
    floors = [cls() for cls in map(plugins.method, plugins.methods) if cls.floor and not cls.stochastic]
    data = named_dataset(name)
    learnt = None
    if pool:
        side = data.manifest.image_size[0]
        learnt = find_pool(pool, side, cache=cache(), folders=data_folders()).crops.images
    found = measured(data, split, floors, learnt)
    say(json.dumps(found, indent=1) if as_json else markdown(found))


@app.command("contact-sheet")
def contact_sheet(
    name: Name,
    out: Annotated[Path, typer.Option(help="The picture, by its ending PNG, WebP, ...")],
    split: Annotated[str, typer.Option(help="Whose images.")] = "val",
    columns: Annotated[int, typer.Option(min=1, help="Images per row.")] = 20,
    rows: Annotated[int, typer.Option(min=1, help="Rows per source.")] = 2,
) -> None:
    """Draw images of every source, sources in sorted order, images evenly spread over a split."""
    from gfp_bench.pictures import contact_sheet as drawn

    images = named_dataset(name).split(split)
    drawn(images, columns, rows).save(out, lossless=True, optimize=True)  # the one is for WebP, the other for PNG
    tell(f"{rows} x {columns} images each of {', '.join(images.sources)}")
    say(str(out))
