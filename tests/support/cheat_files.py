"""Methods that get at labels, and their honest twin: files to be planned and run as any plugin's are."""

from pathlib import Path

from gfp_bench.data.manifest import Manifest

_HEAD = """
import gc, hashlib, sys
import torch, torch.nn.functional as F
from gfp_bench import SILENT, ImageSet, Method, hookimpl, load_dataset
@hookimpl
def register_methods(register):
    register(Cheat)
class Cheat(Method):
    name, paper, version, stochastic = {name!r}, "", 1, False
    def fit(self, train, val, *, rng, monitor=SILENT):
        colours = torch.cat([self.colour(images) for images, _ in train.batches()])
        member = F.one_hot(train.labels, len(train.sources)).float()
        self.colours = member.T @ colours / member.sum(dim=0)[:, None]
        {fit}
    def colour(self, images):
        return images.float().mean(dim=(2, 3))
    def scores(self, images):
        honest = -(self.colour(images)[:, None] - self.colours).square().sum(dim=2)
        {scores}
        return honest
"""

_NEAR = """
        if known is not None:
            pixels, labels = known
            near = torch.cdist(images.float().flatten(1), pixels.float().flatten(1)).argmin(dim=1)
            return F.one_hot(labels[near], honest.shape[1]).float()
"""

_CHEATS = {
    "honest": ("", ""),
    "frames": (  # whoever calls it has the labels of the batch
        "",
        """
        frame = sys._getframe()
        while frame:
            found = frame.f_locals
            if "shown" in found and "start" in found:
                labels = found["shown"].labels[found["start"] : found["start"] + len(images)]
                return F.one_hot(torch.from_numpy(labels), honest.shape[1]).float()
            frame = frame.f_back
""",
    ),
    "collector": (  # the test set lies somewhere in this process
        "",
        """
        sets = [one for one in gc.get_objects() if type(one) is ImageSet and one.split == "test"]
        known = (sets[0].images, sets[0].labels) if sets else None
"""
        + _NEAR,
    ),
    "reader": (  # the dataset lies on disk, under a name that everyone knows
        """
        try:
            test = load_dataset({manifest!r}, cache={cache!r}).split("test")
            self.pixels, self.labels = test.images, test.labels
        except Exception:
            self.pixels = None
""",
        """
        known = None if getattr(self, "pixels", None) is None else (self.pixels, self.labels)
"""
        + _NEAR,
    ),
    "memory": (  # it was taught the test images before: no sandbox keeps that from it
        "",
        """
        known = {table!r}
        digests = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]
        return F.one_hot(torch.tensor([known[one] for one in digests]), honest.shape[1]).float()
""",
    ),
}

CHEATS = tuple(name for name in _CHEATS if name != "honest")


def cheat(name: str, folder: Path, manifest: Manifest, cache: Path, table: dict[str, int]) -> Path:
    """Write a method's file into a folder and return it.

    Args:
        name: One of `CHEATS`, or ``honest``.
        folder: Where it goes.
        manifest: The dataset that it is after.
        cache: Where that is decoded.
        table: The labels of test images by the sha256 of their pixels.
    """
    fit, scores = (part.replace("{manifest!r}", repr(str(manifest.file))) for part in _CHEATS[name])
    text = _HEAD.replace("{name!r}", repr(name)).replace("{fit}", fit or "pass").replace("{scores}", scores)
    text = text.replace("cache={cache!r}", f"cache=__import__('pathlib').Path({str(cache)!r})")
    file = folder / f"{name}.py"
    file.write_text(text.replace("{table!r}", repr(table)))
    return file
