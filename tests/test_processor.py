"""What is read off the processor."""

import torch

from gfp_bench.processor import has_matrix_units


def test_matrix_units_are_those_that_torch_finds() -> None:
    assert has_matrix_units() == torch.cpu._is_amx_tile_supported()
