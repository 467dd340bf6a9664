"""The noise and its clean-up of camera PRNU, plane by plane, by PyWavelets and SciPy."""

import warnings

import numpy as np
import pywt
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter


def slow_wiener_noise(values: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    energies = [uniform_filter(values**2, size, mode="constant") for size in (3, 5, 7, 9)]
    signal = np.min([np.maximum(energy - variance, 0) for energy in energies], axis=0)
    return values * variance / (signal + variance)


def slow_wavelet_noise(plane: NDArray[np.float64], sigma: float, levels: int) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mirrored edges fill the image
        coarse, *details = pywt.wavedec2(plane, "db4", level=levels)
    found = [tuple(slow_wiener_noise(band, sigma**2) for band in bands) for bands in details]
    return pywt.waverec2([np.zeros_like(coarse), *found], "db4")[: plane.shape[0], : plane.shape[1]]


def slow_clearing(residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """ZeroMeanTotal and WienerInDFT of the Binghamton toolbox."""
    plane = residual.copy()
    for top in (0, 1):
        for left in (0, 1):
            lattice = plane[top::2, left::2]
            lattice = lattice - lattice.mean()
            plane[top::2, left::2] = lattice - lattice.mean(axis=1)[:, None] - lattice.mean(axis=0)
    spectrum = np.fft.fft2(plane)
    magnitude = np.abs(spectrum) / np.sqrt(plane.size)
    noise = slow_wiener_noise(magnitude, plane.var(ddof=1))
    return np.fft.ifft2(spectrum * np.where(magnitude == 0, 0, noise / np.where(magnitude == 0, 1, magnitude))).real
