"""An attack's memory: at most 40 bytes per pixel value over the batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.peers import ATTACKS, photographs, streams

MOST = 40


@pytest.mark.timeout(120)
def test_attacks_on_the_cpu_are_sparing() -> None:
    command = [sys.executable, "-m", "benchmarks.attack_memory"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    taken = json.loads(done.stdout)
    assert taken.keys() == ATTACKS.keys()
    assert max(taken.values()) <= MOST, taken
    assert min(taken.values()) > 0.9, f"less than the results themselves: {taken}"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_on_a_gpu_are_sparing(name: str) -> None:
    images, rng = photographs(64, 16384).cuda(), streams(16384, "cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    ATTACKS[name]().perturb(images, rng)
    assert torch.cuda.max_memory_allocated() - before <= MOST * images.numel()
