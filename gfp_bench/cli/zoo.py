"""`zoo train | sample`: make sources of one's own."""

import typer

from gfp_bench.cli import app

zoo = typer.Typer(no_args_is_help=True, help="Train generators and draw images from them.")
app.add_typer(zoo, name="zoo")
