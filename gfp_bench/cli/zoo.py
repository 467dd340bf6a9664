"""`zoo train | sample | build`: sources and datasets of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfp_bench.cli.options import PluginFiles, cache, data_folders
from gfp_bench.cli.output import ExitCode, say, stop, tell
from gfp_bench.machine import keep_freed_memory

if TYPE_CHECKING:
    from gfp_bench.contracts.generator import Generator
    from gfp_bench.registry.discovery import Plugins
    from gfp_bench.zoo.estimates import CostEstimate

app = typer.Typer(no_args_is_help=True)

Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Licences = Annotated[
    list[str] | None,
    typer.Option("--allow-licence", help="Take photographs with this licence as well; may be repeated."),
]


@app.callback()
def prepare() -> None:
    """Train generators, draw images from them, build datasets of both."""
    keep_freed_memory()


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="A generator, name or name[key=value,...].")],
    out: Annotated[Path, typer.Option(help="The folder of the trained generator.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps in all.")],
    pool: Annotated[
        str,
        typer.Option(
            help="A dataset, whose real training images are learnt; a table of photographs, FILE.csv; or "
            "'photographs', crops of ten of them."
        ),
    ] = "photographs",
    size: Annotated[
        int | None, typer.Option(min=8, help="Side of the images in pixels; 64, or the dataset's own, by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all randomness.")] = 0,
    sheets: Annotated[int, typer.Option(min=0, help="How often in all a sheet of samples is written.")] = 10,
    device: Device = "cpu",
    allow_licence: Licences = None,
    plugin: PluginFiles = None,
) -> None:
    """Train a generator; the same command again goes on where a killed training was."""
    from gfp_bench.cli.progress import TrainingLine
    from gfp_bench.contracts.settings import resolved_settings
    from gfp_bench.registry.discovery import load_plugins
    from gfp_bench.zoo import training
    from gfp_bench.zoo.pool import find_pool

    plain, given = training.parse_generator(name)
    cls = load_plugins(plugin or ()).generator(plain)
    settings = resolved_settings(cls, given)
    found = find_pool(pool, size, cache=cache(), folders=data_folders(), licences=allow_licence or ())
    images = found.crops.images.to(_checked(device))
    try:
        training.train(
            cls(**settings),
            images,
            out,
            steps=steps,
            seed=seed,
            settings=settings,
            monitor=TrainingLine(),
            sheets=sheets,
        )
    except FloatingPointError as error:
        stop(ExitCode.FAILED, f"{error}; {training.remains(out)}")
    say(str(out))


@app.command()
def sample(
    source: Annotated[
        str, typer.Argument(help="A folder that `zoo train` filled, or what comes trained: NAME:PATH or name[...].")
    ],
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")],
    out: Annotated[Path, typer.Option(help="Where the PNG files go.")],
    seed: Annotated[int, typer.Option(help="Of the latents.")] = 0,
    device: Device = "cpu",
    plugin: PluginFiles = None,
) -> None:
    """Draw images from a generator and write them as PNG."""
    import cv2
    import torch

    from gfp_bench.files import write_atomically
    from gfp_bench.registry.discovery import load_plugins

    # Deflating noisy 64 x 64 pixels saves a tenth of the bytes and takes ten times as long as storing them.
    stored = (cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)

    generator = _loaded(source, load_plugins(plugin or ()), _checked(device))
    images = generator.sample(n, rng=torch.Generator().manual_seed(seed)).cpu()
    out.mkdir(parents=True, exist_ok=True)
    for number, (red, green, blue) in enumerate(images.numpy()):
        _, content = cv2.imencode(".png", cv2.merge((blue, green, red)), stored)
        write_atomically(out / f"{number:06d}.png", content.tobytes(), durable=False)
    tell(f"{n} images of {generator.name}")
    say(str(out))


@app.command()
def build(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Gets <name>.toml, <name>.parquet and the folder <name> of archives.")],
    trainings: Annotated[
        Path | None,
        typer.Option("--zoo", help="Holds one folder per source, as `zoo train` fills it; zoo/<name> by default."),
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Make this source only; may be repeated.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say how long it will take here, and stop.")] = False,
    device: Device = "cpu",
    allow_licence: Licences = None,
    plugin: PluginFiles = None,
) -> None:
    """Make a dataset, one archive per source; the same command again goes on, several may run at once."""
    from gfp_bench.cli.progress import TrainingLine
    from gfp_bench.registry.discovery import load_plugins
    from gfp_bench.zoo.builder import DatasetBuilder
    from gfp_bench.zoo.pool import find_pool
    from gfp_bench.zoo.recipe import load_recipe

    read = load_recipe(recipe)
    builder = DatasetBuilder(
        recipe=read,
        pool=find_pool(read.pool, read.side, cache=cache(), folders=data_folders(), licences=allow_licence or ()),
        plugins=load_plugins(plugin or ()),
        folder=out,
        zoo=trainings or Path("zoo", read.name),
        device=_checked(device),
        report=tell,
        monitor=TrainingLine(),
    )
    pending = builder.pending(source or ())
    tell(f"{read.name}: {len(pending)} of {len(source or [*read.sources, 'real'])} sources are to be made")
    _tell_estimates([_told(found) for found in builder.estimates(pending)])
    if estimate:
        return
    if manifest := builder.run(pending):
        say(str(manifest.file))


def _loaded(source: str, plugins: "Plugins", device: str) -> "Generator":
    """Return the generator trained in a folder, or one that comes training."""
    from gfp_bench.contracts.settings import resolved_settings
    from gfp_bench.zoo import training

    name, given = training.parse_generator(source)
    if Path(source).exists() or name not in plugins.generators:
        record = training.read_record(Path(source))
        generator = plugins.generator(record["generator"])(**record["settings"])
        training.load(generator, Path(source), device=device)
        return generator
    cls = plugins.generator(name)
    settings = resolved_settings(cls, given)
    generator = cls(**settings)
    generator.load(Path(str(settings.get("path", ""))), device=device)
    return generator


def _checked(device: str) -> str:
    """Return the device if torch has it here."""
    import torch

    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise typer.BadParameter(
            f"{device!r} is no device that torch sees here; use cpu or cuda", param_hint="--device"
        )
    return device


def _told(estimate: "CostEstimate") -> "CostEstimate":
    tell(f"measured {estimate.source}")
    return estimate


def _tell_estimates(estimates: "list[CostEstimate]") -> None:
    """Print what is left to do and how long it takes, alone on this machine's processors."""
    from tabulate import tabulate

    if not estimates:
        return
    rows = [
        {
            "source": found.source,
            "steps": found.steps,
            "s a step": f"{found.step.wall:.3f}",
            "samples": found.samples,
            "s a sample": f"{found.image.wall:.4f}",
            "processor time": _duration(found.total.processor),
            "wall time": _duration(found.total.wall),
        }
        for found in estimates
    ]
    total = {
        "source": "together",
        "processor time": _duration(sum(found.total.processor for found in estimates)),
        "wall time": _duration(sum(found.total.wall for found in estimates)),
    }
    tell(tabulate([*rows, total], headers="keys", tablefmt="simple"))


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
