"""`zoo train | sample`: sources of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfp_bench.cli import app, cache, data_folders, say, tell
from gfp_bench.cli.running import PluginFiles

if TYPE_CHECKING:
    from torch import Tensor

zoo = typer.Typer(no_args_is_help=True, help="Train generators and draw images from them.")
app.add_typer(zoo, name="zoo")


@zoo.command()
def train(
    name: Annotated[str, typer.Argument(help="A generator, name or name[key=value,...].")],
    out: Annotated[Path, typer.Option(help="The folder of the trained generator.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps in all.")],
    pool: Annotated[
        str, typer.Option(help="A dataset, whose real training images are learnt; or 'photographs', photo-mini's pool.")
    ] = "photographs",
    seed: Annotated[int, typer.Option(help="Of all randomness.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    plugin: PluginFiles = None,
) -> None:
    """Train a generator; the same command again goes on where a killed training was."""
    from gfp_bench import zoo as trained
    from gfp_bench.cli.progress import TrainingLine
    from gfp_bench.plugins import load_plugins
    from gfp_bench.settings import parse_spec, resolved_settings

    plain, given = parse_spec(name)
    cls = load_plugins(plugin or ()).generator(plain)
    settings = resolved_settings(cls, given)
    images = _pool(pool).to(device)
    trained.train(cls(**settings), images, out, steps=steps, seed=seed, settings=settings, monitor=TrainingLine())
    say(str(out))


@zoo.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Where `zoo train` wrote.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")],
    out: Annotated[Path, typer.Option(help="Where the PNG files go.")],
    seed: Annotated[int, typer.Option(help="Of the latents.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    plugin: PluginFiles = None,
) -> None:
    """Draw images from a trained generator and write them as PNG."""
    from PIL import Image

    from gfp_bench import zoo as trained
    from gfp_bench.plugins import load_plugins

    record = trained.read_record(folder)
    generator = load_plugins(plugin or ()).generator(record["generator"])(**record["settings"])
    images = trained.sample(generator, folder, n, seed=seed, device=device).cpu()
    out.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(out / f"{number:06d}.png")
    tell(f"{n} images of {record['generator']}")
    say(str(out))


def _pool(name: str) -> "Tensor":
    """Return the images to learn from."""
    if name == "photographs":
        from gfp_bench.photographs import pool

        return pool().images
    from gfp_bench.datasets import load_dataset
    from gfp_bench.errors import UsageError

    train = load_dataset(name, cache=cache(), folders=data_folders()).split("train")
    if "real" not in train.sources:
        raise UsageError(
            f"dataset {name!r} has no source 'real' to learn from; its sources: {', '.join(train.sources)}"
        )
    return train.images[train.labels == train.sources.index("real")]
