"""`data info | index | verify | audit`: what a dataset is, and whether its files are what its manifest says."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gfp_bench.cli import app, data_folders, say, tell

data = typer.Typer(no_args_is_help=True, help="Describe, index and verify datasets.")
app.add_typer(data, name="data")

Name = Annotated[str, typer.Argument(help="A dataset's name, or a manifest's path.")]


@data.command()
def info(name: Name) -> None:
    """Print a dataset's manifest."""
    from gfp_bench.manifests import find_manifest, read_manifest

    manifest = read_manifest(find_manifest(name, data_folders()))
    say(f"{manifest.name}: {manifest.description}")
    say(f"sources: {', '.join(manifest.source_names)}")
    say(f"images: {', '.join(f'{count} {split}' for split, count in manifest.splits.items())}, {manifest.image_shape}")
    say(f"licence: {manifest.licence}")
    say(f"digest: {manifest.digest}")
    say(f"files: {manifest.root}")


@data.command()
def index(
    folder: Annotated[Path, typer.Argument(help="Holds <split>/<source>/**, or <source>/** with --split.")],
    name: Annotated[str, typer.Argument(help="The new dataset's name.")],
    split: Annotated[str | None, typer.Option(help="Shares of train,val,test, as 0.6,0.2,0.2, drawn by group.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the splits.")] = 0,
    group: Annotated[
        str | None, typer.Option(help="A regular expression; its parentheses name an image's group.")
    ] = None,
    convert: Annotated[bool, typer.Option("--convert", help="Take files that are not 8-bit RGB.")] = False,
    crop: Annotated[str | None, typer.Option(help="As center:128.")] = None,
    resize: Annotated[str | None, typer.Option(help="As 64:lanczos.")] = None,
    description: str = "",
    licence: str = "unknown",
) -> None:
    """Check every image below a folder; write <name>.toml and <name>.parquet beside it."""
    from gfp_bench.decoding import make_view
    from gfp_bench.readers import SPLITS, index_folder

    fractions = None
    if split:
        shares = split.split(",")
        if len(shares) != len(SPLITS) or not all(share.replace(".", "", 1).isdigit() for share in shares):
            raise typer.BadParameter(f"{split!r}: expected three shares, as 0.6,0.2,0.2", param_hint="--split")
        fractions = dict(zip(SPLITS, map(float, shares), strict=True))
    manifest = index_folder(
        folder,
        name,
        description=description,
        licence=licence,
        view=make_view(convert=convert, crop=crop, resize=resize),
        group=group,
        fractions=fractions,
        seed=seed,
    )
    tell(f"wrote {manifest.file} and {manifest.index_file}")
    say(str(manifest.file))


@data.command()
def verify(name: Name) -> None:
    """Read every file again and compare it with the index."""
    from gfp_bench import audit as audits
    from gfp_bench.manifests import find_manifest, read_manifest

    manifest = read_manifest(find_manifest(name, data_folders()))
    say(f"{manifest.name}: all {audits.verify(manifest)} files are what the index says")


@data.command()
def audit(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="One object a source.")] = False,
) -> None:
    """Compare the sources by what has nothing to do with fingerprints: format, file size, image size."""
    from tabulate import tabulate

    from gfp_bench import audit as audits
    from gfp_bench.manifests import find_manifest, read_manifest

    table = audits.audit(read_manifest(find_manifest(name, data_folders())))
    if as_json:
        say(json.dumps(table.to_dict("records"), indent=1))
        return
    say(tabulate(table.to_dict("records"), headers="keys", tablefmt="simple"))
    for leak in audits.leaks(table):
        tell(f"leak: {leak}")
