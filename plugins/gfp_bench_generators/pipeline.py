"""Any image pipeline of the library diffusers, on disk or from its hub, as a source: ``diffusers:PATH``.

Source: https://github.com/huggingface/diffusers. Weights are read from safetensors alone, and no code that lies beside
them is run.
"""

import inspect
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn

import torch
from annotated_types import Ge

from gfp_bench import SILENT, Generator, Images, Monitor, Register, UsageError, hookimpl, to_uint8
from gfp_bench_generators._shared.libraries import library

_BATCH = 16  # images at a time


@hookimpl
def register_generators(register: Register) -> None:
    """Offer `Pipeline`."""
    register(Pipeline)


class Pipeline(Generator):
    """What a pipeline draws; each image has a random stream of its own, so that it does not depend on its batch.

    Once a pipeline is loaded, ``metadata`` has its own factors, its scheduler and its steps.
    """

    name = "diffusers"
    paper = ""
    version = 1
    metadata: ClassVar[dict[str, str]] = dict.fromkeys(
        ("loss", "upsampling", "downsampling", "normalisation", "nonlinearity", "skips"), "unknown"
    ) | {"family": "diffusion"}

    def __init__(
        self,
        path: Annotated[str, "a folder with model_index.json, or the hub's owner/name"] = "",
        steps: Annotated[int | None, "steps of the scheduler; none: the pipeline's own number", Ge(1)] = None,
        guidance: Annotated[float | None, "how strongly the prompt counts; none: the pipeline's own"] = None,
        prompt: Annotated[str | None, "text that goes with every image; only for pipelines that want one"] = None,
        download: Annotated[bool, "whether the hub may be asked; else only what is on disk is used"] = False,
    ) -> None:
        self.path = path
        self.steps = steps
        self.guidance = guidance
        self.prompt = prompt
        self.download = download
        self.pipeline: Any = None  # of diffusers, untyped

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> NoReturn:
        raise UsageError(f"pipeline {self.path!r} cannot be trained here; draw from it with `gfp-bench zoo sample`")

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        """Return n images of the pipeline's own size.

        Raises:
            UsageError: If the pipeline does not load, wants what the settings lack, or lacks what they set.
        """
        self._open()
        seeds = torch.randint(2**62, (n,), generator=rng).tolist()
        return torch.cat([self._draw(seeds[start : start + _BATCH]) for start in range(0, n, _BATCH)])

    def save(self, folder: Path) -> None:
        self._open()
        self.pipeline.save_pretrained(folder, safe_serialization=True)

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        """Load the pipeline that lies in a folder, or has this name at the hub.

        Raises:
            UsageError: If it cannot be loaded.
        """
        if folder == Path():
            raise UsageError("generator 'diffusers' has no pipeline; name one as diffusers:PATH")
        diffusers = library("diffusers")
        diffusers.utils.logging.disable_progress_bar()
        try:
            self.pipeline = diffusers.DiffusionPipeline.from_pretrained(
                str(folder),
                local_files_only=not self.download,
                use_safetensors=True,
                trust_remote_code=False,
                low_cpu_mem_usage=False,  # as without the library accelerate, which it else asks for
            )
        except (OSError, ValueError, AttributeError) as error:
            raise UsageError(
                f"pipeline {str(folder)!r} does not load ({error}); expected a folder with model_index.json and "
                "weights as safetensors, or with download=true the hub's owner/name"
            ) from error
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.to(device)
        self.metadata = self._factors()  # type: ignore[misc]  # this pipeline's, not every one's

    def _open(self) -> None:
        if self.pipeline is None:
            self.load(Path(self.path))

    def _draw(self, seeds: list[int]) -> Images:
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        values = self.pipeline(generator=streams, output_type="np", **self._arguments(len(seeds))).images
        images = to_uint8(torch.from_numpy(values).permute(0, 3, 1, 2) * 255)
        return images.expand(-1, 3, -1, -1).contiguous()  # grey images have one channel

    def _arguments(self, n: int) -> dict[str, Any]:  # of the pipeline's call
        """Return how the pipeline is told to draw n images under the settings."""
        known = inspect.signature(self.pipeline.__call__).parameters
        settings = {
            "num_inference_steps": ("steps", self.steps),
            "guidance_scale": ("guidance", self.guidance),
            "prompt": ("prompt", None if self.prompt is None else [self.prompt] * n),
        }
        for argument, (setting, value) in settings.items():
            if value is not None and argument not in known:
                raise UsageError(f"pipeline {self.path!r} takes no {argument}; leave the setting {setting!r} out")
        if "prompt" in known and self.prompt is None:
            raise UsageError(f"pipeline {self.path!r} wants a prompt; give the setting 'prompt'")
        arguments = {argument: value for argument, (_, value) in settings.items() if value is not None}
        return arguments if "prompt" in known else {"batch_size": n, **arguments}

    def _factors(self) -> dict[str, str]:
        scheduler = self.pipeline.scheduler
        own = inspect.signature(self.pipeline.__call__).parameters.get("num_inference_steps")
        steps = own.default if self.steps is None and own is not None else self.steps
        return {
            **type(self).metadata,
            "loss": str(scheduler.config.get("prediction_type", "unknown")),
            "scheduler": type(scheduler).__name__,
            "steps": str(steps),
        }
