"""A faulty attack is named as what is at fault, in a unit and in a run."""

from dataclasses import replace
from pathlib import Path

import faulty_attacks
import jaxtyping
import pytest
import torch
from places import SUPPORT

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.attacking import CheckedAttack
from gfp_bench.engine.events import CellDone, CellsFailed, RunEvent
from gfp_bench.engine.plan import make_plan
from gfp_bench.engine.runner import Options, run
from gfp_bench.errors import PluginError
from gfp_bench.protocols.protocol import AttackUse, load_protocol
from gfp_bench.registry.discovery import load_plugins

SHAPED = "of shape (4, 3, 8, 8) on cpu"


class Halves(Perturbation):
    """A sound attack that counts how often it is called."""

    name = "halves"
    version = 1
    calls = 0

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        self.calls += 1
        return images // 2 + rng.integers(0, 9)[:, None, None, None].byte()


@pytest.fixture
def images() -> Images:
    return torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def rng() -> ImageRng:
    return ImageRng.for_images(["a", "b", "c", "d"], seed=0, dataset="toy", attack="x", split="test")


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (faulty_attacks.Float, f"returned torch.float32 {SHAPED}, expected torch.uint8 {SHAPED}"),
        (faulty_attacks.NotANumber, f"returned torch.float32 {SHAPED}, expected torch.uint8"),
        (faulty_attacks.Whole, f"returned torch.int64 {SHAPED}, expected torch.uint8"),
        (faulty_attacks.Cuts, "returned torch.uint8 of shape (4, 3, 7, 8) on cpu, expected"),
        (faulty_attacks.Lists, "returned list, expected a tensor"),
        (faulty_attacks.Overwrites, "changed the images that it was given"),
        (faulty_attacks.Batch, "gave the same images other pixels when they came alone or in another order"),
        (faulty_attacks.Places, "gave the same images other pixels when they came alone or in another order"),
        (faulty_attacks.Random, "gave the same images other pixels when they came alone or in another order"),
        (faulty_attacks.Fails, "raised IndexError: no such pixel"),
    ],
)
def test_what_is_wrong_with_an_attack(
    images: Images, rng: ImageRng, attack: type[Perturbation], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(PluginError) as caught:
        CheckedAttack.of(attack()).perturb(images, rng)
    assert str(caught.value).startswith(f"attack {attack.name!r} {reason}")


def test_a_sound_attack_is_tried_once_and_keeps_its_draws(images: Images, rng: ImageRng) -> None:
    attack = Halves()
    checked = CheckedAttack.of(attack)
    fresh, other = (rng[torch.arange(4)] for _ in range(2))
    for _ in range(2):
        assert torch.equal(checked.perturb(images, rng), Halves().perturb(images, fresh))
    assert attack.calls == 4  # twice in reverse and alone, on the first batch only
    assert not torch.equal(Halves().perturb(images, other), Halves().perturb(images, fresh)), "draws go on"


def test_a_run_blames_the_attack(toy: Manifest, cache: Path, tmp_path: Path) -> None:
    file = SUPPORT / "faulty_attacks.py"
    uses = (AttackUse(name="batch"), AttackUse(name="dies"))
    protocol = load_protocol("attribution@0").model_copy(update={"attacks": uses, "immunise": False})
    made = make_plan(toy, protocol, [], load_plugins([file]))
    plan = replace(made, trials=tuple(trial for trial in made.trials if trial.method == "majority"))
    options = Options(
        manifests={toy.name: toy.file}, cache=cache, results=tmp_path, jobs=1, device="cpu", plugin_files=(file,)
    )
    events: list[RunEvent] = []
    run(plan, options, events.append)
    assert [event.cell for event in events if isinstance(event, CellDone)] == ["clean"]
    reasons = {event.cells: event.reason for event in events if isinstance(event, CellsFailed)}
    assert reasons[("batch",)].startswith("attack 'batch' gave the same images other pixels")
    assert reasons[("dies",)] == "attack 'dies': exited with code 4 before it was done"
