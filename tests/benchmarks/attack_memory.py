"""What every attack takes of memory: the peak of a process of its own over what it held before.

PYTHONPATH=tests python -m benchmarks.attack_memory     # one JSON object, bytes per pixel value
"""

import json
import os
import resource
import sys
from pathlib import Path

import numpy as np
import torch
from benchmarks.peers import ATTACKS, streams

from gfp_bench import Images, Perturbation

COUNT, SIDE = 512, 64  # so many images that what does not grow with them is below a byte a value


def memory() -> dict[str, float]:
    """Return bytes per pixel value over the batch, the result's own byte included, by attack."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (COUNT, 3, SIDE, SIDE), dtype=np.uint8))
    return {name: peak(attack, images) / images.numel() for name, attack in ATTACKS.items()}


def peak(attack: type[Perturbation], images: Images) -> int:
    """Return bytes; the parent has not computed anything yet, so a fork is safe, and spares the imports."""
    reader, writer = os.pipe()
    if child := os.fork():
        os.waitpid(child, 0)
        return int(os.read(reader, 100))
    torch.set_num_threads(2)
    attack().perturb(images[:8].clone(), streams(8))  # libraries set themselves up
    rng = streams(len(images))
    before = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
    attack().perturb(images, rng)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    os.write(writer, str(1024 * (most - before)).encode())
    os._exit(0)


if __name__ == "__main__":
    json.dump(memory(), sys.stdout)
