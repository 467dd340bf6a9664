from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rounding import assert_same_but_for_rounding
from safetensors.torch import save_file

from gfp_bench import ImageRng
from gfp_bench_attacks._shared.sfsnet import SIDE, decompose, expected_shapes, load_lights, load_weights, residual_block
from gfp_bench_attacks.relight import Relight, sfsnet_shading

Weights = dict[str, torch.Tensor]


def streams(ids: list[int]) -> ImageRng:
    names = [str(number) for number in ids]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="relight", split="test")


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def random_weights(seed: int = 0) -> Weights:
    """Weights that keep features about as large as they were."""
    draws = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in expected_shapes().items():
        layer, blob = name.split(".")
        if blob == "2":
            weights[name] = torch.full(shape, 4.0)
        elif "bn" in layer:
            weights[name] = 4 * (torch.rand(shape, generator=draws) + float(blob))
        else:
            fan = max(1, int(np.prod(shape[1:])))
            weights[name] = torch.randn(shape, generator=draws) / fan**0.5
    return weights


def constant_weights(normal: list[float], albedo: list[float], light: torch.Tensor) -> Weights:
    """Weights that find the same in every picture."""
    weights = random_weights()
    for layer, values in (("Nconv0", (torch.tensor(normal) + 1) / 2), ("Aconv0", torch.tensor(albedo))):
        weights[f"{layer}.0"], weights[f"{layer}.1"] = torch.zeros(3, 64, 1, 1), values.flip(0)
    weights["fc_light.0"], weights["fc_light.1"] = torch.zeros(27, 128), light.float()
    return weights


def write(folder: Path, weights: Weights, lights: NDArray[np.float64]) -> str:
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "sfsnet.safetensors")
    np.savetxt(folder / "lights.txt", lights)
    return str(folder)


@pytest.fixture
def lights() -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(0.3, 0.3, (7, 27))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network takes pictures of any size; small ones are fast."""
    monkeypatch.setattr("gfp_bench_attacks.relight.SIDE", 16)


def test_layers_are_those_of_the_caffe_definition() -> None:
    """Counted there: 30 convolutions, 29 normalisations, two up-samplings, one linear layer."""
    shapes = expected_shapes()
    assert len(shapes) == 30 * 2 + 29 * 3 + 2 * 1 + 1 * 2
    assert shapes["conv1.0"] == (64, 3, 7, 7)
    assert shapes["nconv5r.0"] == shapes["aconv1.0"] == (128, 128, 3, 3)
    assert shapes["Nconv0.0"] == (3, 64, 1, 1)
    assert shapes["lconv1.0"] == (128, 3 * 128, 1, 1)


def test_pictures_are_taken_apart() -> None:
    normals, albedo, lighting = decompose(random_weights(), torch.rand(1, 3, SIDE, SIDE))
    assert (normals.shape, albedo.shape, lighting.shape) == ((1, 3, SIDE, SIDE), (1, 3, SIDE, SIDE), (1, 27))
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(1, SIDE, SIDE))
    assert normals.std() > 0.1
    assert albedo.std() > 0.01
    assert lighting.std() > 0.01


def test_a_residual_block_is_a_slow_loops() -> None:
    draws = np.random.default_rng(0)
    weights, features = {}, draws.normal(size=(2, 3, 5, 4))
    for place in ("2", "2r"):
        weights |= {f"aconv{place}.0": draws.normal(size=(3, 3, 3, 3)), f"aconv{place}.1": draws.normal(size=3)}
        weights |= {f"abn{place}.0": draws.normal(size=3), f"abn{place}.1": draws.uniform(1, 2, 3)}
        weights[f"abn{place}.2"] = np.array([0.5])
    change = features
    for place in ("2", "2r"):
        mean, variance = (weights[f"abn{place}.{blob}"].reshape(3, 1, 1) / 0.5 for blob in (0, 1))
        change = np.maximum((change - mean) / np.sqrt(variance + 1e-5), 0)
        change = convolved(change, weights[f"aconv{place}.0"], weights[f"aconv{place}.1"])
    ours = residual_block(
        {name: torch.from_numpy(array) for name, array in weights.items()}, "a", 2, torch.from_numpy(features)
    )
    assert_same_but_for_rounding(ours, features + change, operations=2 * 27)


def convolved(
    features: NDArray[np.float64], kernel: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    padded = np.pad(features, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros_like(features)
    for image, channel, row, column in np.ndindex(*out.shape):
        window = padded[image, :, row : row + 3, column : column + 3]
        out[image, channel, row, column] = (window * kernel[channel]).sum() + bias[channel]
    return out


def test_shading_is_that_of_nine_harmonics() -> None:
    """Constants of the matt surface's irradiance: pi / sqrt(4 pi), ... as the authors' training code has them."""
    draws = np.random.default_rng(0)
    normals = draws.normal(size=(3, 4, 5))
    normals /= np.linalg.norm(normals, axis=0)
    light, (x, y, z) = draws.normal(size=27), normals
    c1, c2, c3, c4, c5 = 0.8862269, 1.0233267, 0.2477080, 0.8580855, 0.4290428
    basis = [c1 + 0 * x, c2 * z, c2 * x, c2 * y, c3 * (2 * z * z - x * x - y * y)]
    basis += [c4 * x * z, c4 * y * z, c5 * (x * x - y * y), c4 * x * y]
    expected = [
        sum(weight * part for weight, part in zip(light[9 * c : 9 * c + 9], basis, strict=True)) for c in range(3)
    ]
    ours = sfsnet_shading(torch.from_numpy(normals), torch.from_numpy(light))[0]
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", [(1, 1), (9, 20), (16, 16)])
def test_what_is_rendered_is_albedo_times_light(tmp_path: Path, size: tuple[int, int]) -> None:
    """Under light from everywhere, 1, 2 and 3 times as strong in red, green and blue."""
    ambient = torch.zeros(3, 9)
    ambient[:, 0] = torch.tensor([1.0, 2.0, 3.0])
    weights = constant_weights([0.0, 0.6, 0.8], [0.5, 0.2, 0.1], torch.zeros(27))
    folder = write(tmp_path, weights, ambient.view(1, 27).double().numpy())
    attack = Relight(normals=f"sfsnet:{folder}")
    assert attack.note == "", "no board calls it synthetic"
    relit = attack.perturb(pictures(2, *size), streams([0, 1]))
    expected = np.rint(255 * np.array([0.5, 0.4, 0.3]) * np.pi / np.sqrt(4 * np.pi))
    assert (relit.numpy() == expected[:, None, None]).all()


@pytest.mark.usefixtures("small")
def test_a_ratio_of_equal_lights_changes_nothing(tmp_path: Path) -> None:
    light = torch.full((27,), 0.25)
    folder = write(tmp_path, constant_weights([0.0, 0.0, 1.0], [0.5] * 3, light), light[None].double().numpy())
    images = pictures(2, 12, 20)
    assert torch.equal(Relight(normals=f"sfsnet-ratio:{folder}").perturb(images, streams([0, 1])), images)
    np.savetxt(tmp_path / "lights.txt", 2 * light[None].numpy())
    twice = Relight(normals=f"sfsnet-ratio:{folder}").perturb(images, streams([0, 1]))
    assert torch.equal(twice, (2 * images.int()).clamp(max=255).to(torch.uint8))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["sfsnet", "sfsnet-ratio"])
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_batch_or_order(
    tmp_path: Path, lights: NDArray[np.float64], kind: str, threads: int
) -> None:
    images, attack = pictures(3, 24, 20), Relight(normals=f"{kind}:{write(tmp_path, random_weights(), lights)}")
    whole = attack.perturb(images, streams([0, 1, 2]))
    assert len({tuple(image.flatten().tolist()) for image in whole}) == 3
    torch.set_num_threads(threads)
    order = [2, 0]
    again = attack.perturb(images[order], streams(order))
    assert (again.int() - whole[order].int()).abs().max() <= (threads > 1)  # one thread fixes the order of sums


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [1, 3])
def test_the_network_runs_in_one_thread(
    tmp_path: Path, lights: NDArray[np.float64], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its float32 sums vary with the number of threads, though seldom by as much as a grey level."""
    seen = []

    def watched(weights: Weights, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        seen.append(torch.get_num_threads())
        return decompose(weights, pictures)

    monkeypatch.setattr("gfp_bench_attacks.relight.decompose", watched)
    attack = Relight(normals=f"sfsnet:{write(tmp_path, random_weights(), lights)}")
    torch.set_num_threads(2)
    attack.perturb(pictures(count, 12, 20), streams(list(range(count))))
    assert seen == [1] * count
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("conv1.0", None, r"do not fit: conv1\.0 \(64, 3, 7, 7\) is missing"),
        ("extra.0", torch.zeros(2, 5), r"do not fit: extra\.0 \(2, 5\) is not of the network"),
        ("nup6.0", torch.zeros(1, 128, 4, 4), r"nup6\.0 has shape \(1, 128, 4, 4\), expected \(128, 1, 4, 4\)"),
        ("bn2.1", torch.full((128,), torch.nan), r"bn2\.1 is torch\.float32, expected finite floating-point numbers"),
        ("bn2.1", torch.ones(128, dtype=torch.int32), r"bn2\.1 is torch\.int32, expected finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    weights = {key: torch.zeros(shape) for key, shape in expected_shapes().items()}
    weights |= {name: tensor} if tensor is not None else {}
    write(
        tmp_path, {key: value for key, value in weights.items() if key != name or tensor is not None}, np.zeros((1, 27))
    )
    with pytest.raises(ValueError, match=message):
        Relight(normals=f"sfsnet:{tmp_path}")


def test_everything_that_does_not_fit_is_counted(tmp_path: Path) -> None:
    write(tmp_path, {"conv1.0": torch.zeros(1)}, np.zeros((1, 27)))
    with pytest.raises(ValueError, match=r"; and 146 more; see docs/attacks\.md"):
        load_weights(tmp_path)


def test_files_that_are_not_there_or_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere/sfsnet\.safetensors cannot be read"):
        Relight(normals="sfsnet:nowhere")
    (tmp_path / "sfsnet.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(ValueError, match="cannot be read"):
        load_weights(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", r"of shape \(1, 3\), expected rows of 27 finite numbers"),
        ("nan " * 27, r"of shape \(1, 27\), not all finite, expected rows of 27"),
        ("a " * 27, "cannot be read"),
        ("1 2\n3\n", "cannot be read"),
    ],
)
def test_lightings_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "lights.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_lights(tmp_path)


@pytest.mark.parametrize("normals", ["sfsnet", "sfsnet:", "image:folder", "face"])
def test_normals_that_do_not_exist_are_refused(normals: str) -> None:
    with pytest.raises(ValueError, match=f"normals='{normals}', expected one of hemisphere, image, sfsnet:FOLDER, "):
        Relight(normals=normals)
