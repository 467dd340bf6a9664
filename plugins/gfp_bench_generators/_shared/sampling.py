"""What trained generators share: latents to images, a network to a file and back."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from gfp_bench import Generator, Images, State, load_state, save_state, to_uint8

_FILE = "generator.safetensors"
_BATCH = 256


class OneNetwork(Generator):
    """A generator of which nothing is kept but one network and the side that it was built for."""

    network: nn.Module
    side: int

    @abstractmethod
    def build(self, side: int) -> nn.Module:
        """Return the untrained network."""

    def save(self, folder: Path) -> None:
        save_network(folder, self.network, side=self.side)

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.network, state = load_network(folder, self.build, device)
        self.side = state["side"]


@torch.no_grad()
def decode(network: nn.Module, latents: Tensor) -> Images:
    """Return one image for each of the (n, d) latents, on the network's device."""
    device = next(network.parameters()).device
    return torch.cat([to_uint8((network(part.to(device)) + 1) * 127.5) for part in batches(latents)])


def batches(rows: Tensor) -> Iterator[Tensor]:
    """Yield the rows in parts that fit into memory."""
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def save_network(folder: Path, network: nn.Module, **more: State) -> None:
    """Write a network's weights, and what else its generator needs, into a folder."""
    save_state(folder / _FILE, {"network": network.state_dict(), **more})


def load_network(
    folder: Path, build: Callable[[int], nn.Module], device: torch.device | str
) -> tuple[nn.Module, dict[str, State]]:
    """Return what `save_network` wrote, the network in evaluation mode, from ``build`` of the saved ``side``."""
    state = load_state(folder / _FILE, device)
    network = build(state["side"]).to(device)
    network.load_state_dict(state.pop("network"))
    return network.eval(), state
