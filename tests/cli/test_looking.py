"""`check` as a user meets it: where a plugin failed, one cause once, tracebacks on demand."""

from collections.abc import Callable
from pathlib import Path

import pytest

PLUGIN = """
import torch
from gfp_bench import Method, hookimpl

@hookimpl
def register_methods(register):
    register(Wry)

class Wry(Method):
    name, paper, version, stochastic = "wry", "", 1, False

    def fit(self, train, val, *, rng, monitor=None):
        self.sources = len(train.sources)

    def scores(self, images):
        return images.float().mean((2, 3)) @ torch.eye(3, self.sources)

    def save(self, folder):
        raise OSError(f"no room in {folder}")  # another one each time
"""


@pytest.fixture
def wry(tmp_path: Path) -> str:
    (tmp_path / "wry.py").write_text(PLUGIN)
    return str(tmp_path / "wry.py")


def test_check_shows_the_plugins_line_and_tells_a_cause_once(cli: Callable, wry: str) -> None:
    code, out, err = cli("check", "wry", "--plugin", wry)
    assert code == 3
    assert out.count("FAILED") == out.count("no room") - 1 == 1  # the word and the line
    assert "FAILED  save and load, immunise: OSError: no room in /" in out
    assert f'{wry}:19: raise OSError(f"no room in {{folder}}")' in out
    assert "Traceback" not in out
    assert "'wry' failed 2 of " in err


def test_check_prints_every_traceback_on_demand(cli: Callable, wry: str) -> None:
    code, out, _ = cli("check", "wry", "--traceback", "--plugin", wry)
    assert code == 3
    assert out.count("Traceback (most recent call last):") == 2
    assert "save and load: Traceback" in out and "immunise: Traceback" in out


def test_check_of_a_generator_tells_what_was_not_tried(cli: Callable) -> None:
    code, out, err = cli("check", "diffusers")
    assert code == 0, err
    assert "not checked  training, pool unchanged, repeatable training, previews, killed training: it comes" in out
    assert "not checked  samples, same samples again, other samples, nothing global, save and load: it comes" in out
    assert out.endswith("diffusers passed 3 of 13 checks; 10 could not be tried\n")


def test_check_trains_a_generator(cli: Callable) -> None:
    code, out, err = cli("check", "vae[width=4,batch=4,latent=3,mixture=2]")
    assert code == 0, err
    assert "passed  killed training" in out
    assert out.endswith("vae passed all 13 checks\n")
