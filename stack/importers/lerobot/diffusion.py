"""Diffusion Policy (Chi et al., 2023) as two graphs: what is seen once a frame, and its U-Net once a step of DDIM.

The last `n_obs_steps` frames and states become one condition, which stays the same for all steps of a frame. The steps
themselves are data: times and cumulative products from the policy's own scheduler.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_registry.core.contract.graphs import Loop
from stack.importers.lerobot import onnx_file
from stack.importers.lerobot.exported import FRAME, STEP, Exported, ExportedOutput
from stack.importers.lerobot.loading import LoadedPolicy

OBSERVE = "observe"
DENOISE = "denoise"


class Condition(nn.Module):  # type: ignore[misc]
    """(state [1, frames, width], one series [1, frames, 3, height, width] a camera) -> condition [1, numbers].

    For a policy of one frame both come without the axis of frames.
    """

    def __init__(self, model: nn.Module, images: tuple[Tensor, ...]) -> None:
        """`images` are examples, in the order of the policy's cameras."""
        super().__init__()
        encoder = model.rgb_encoder
        encoders = list(encoder) if isinstance(encoder, nn.ModuleList) else [encoder] * len(images)
        self.eyes = nn.ModuleList([_Eye(each, image) for each, image in zip(encoders, images, strict=True)])

    def forward(self, state: Tensor, *images: Tensor) -> Tensor:
        seen = [state.flatten(0, -2)]
        seen += [eye(image.flatten(0, -4)) for eye, image in zip(self.eyes, images, strict=True)]
        return torch.cat(seen, dim=1).flatten().unsqueeze(0)


class Denoiser(nn.Module):  # type: ignore[misc]
    """(condition, x [1, horizon, dims], time int64 [1]) -> v [1, horizon, dims]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.unet = model.unet

    def forward(self, condition: Tensor, x: Tensor, time: Tensor) -> Tensor:
        v: Tensor = self.unet(x, time, global_cond=condition)
        return v


class _Eye(nn.Module):  # type: ignore[misc]
    """The encoder of one camera: images [frames, 3, height, width] -> features [frames, numbers].

    To make images smaller is linear in rows and in columns, so that two matrices do exactly what the policy's own
    filter does, which not every runtime has.
    """

    def __init__(self, encoder: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.resizes = encoder.resize is not None
        if self.resizes:
            height, width = encoder.resize.size
            self.register_buffer("rows", _smaller(image.shape[-2], int(height)))
            self.register_buffer("columns", _smaller(image.shape[-1], int(width)).T.contiguous())

    def forward(self, image: Tensor) -> Tensor:
        if self.resizes:
            image = torch.matmul(torch.matmul(self.rows, image), self.columns)
        if self.encoder.do_crop:
            image = self.encoder.center_crop(image)
        places = self.encoder.pool(self.encoder.backbone(image))
        return functional.relu(self.encoder.out(places.flatten(1)))


def _smaller(size: int, wanted: int) -> Tensor:
    """[wanted, size]: what every row of the smaller image takes from those of the larger one."""
    every_row = torch.eye(size).reshape(1, 1, size, size)
    made: Tensor = functional.interpolate(
        every_row, size=(wanted, size), mode="bilinear", align_corners=False, antialias=True
    )
    return made[0, 0]


def export(policy: LoadedPolicy, folder: Path) -> Exported:
    """Write both graphs into `folder`."""
    config = policy.config
    model = policy.policy.diffusion
    frames = int(config.n_obs_steps)
    series = (1, frames) if frames > 1 else (1,)
    images = {name: torch.zeros(*series, *policy.image_shape(name)) for name in policy.directory.cameras}
    inputs = [("state", "state", torch.zeros(*series, policy.state_width))]
    inputs += [(f"images_{name}", f"cameras.{name}", image) for name, image in images.items()]
    condition = Condition(model, tuple(images.values()))
    observe = onnx_file.write(condition, folder, OBSERVE, FRAME, inputs, ["condition"])
    steps = [
        ("condition", f"{OBSERVE}.condition", torch.zeros(observe.outputs[0].shape)),
        ("x", "x", torch.zeros(1, int(config.horizon), policy.dims)),
        ("time", "time", torch.ones(1, dtype=torch.int64)),
    ]
    denoise = onnx_file.write(Denoiser(model), folder, DENOISE, STEP, steps, ["v"])
    output = ExportedOutput("x", frames - 1, int(config.n_action_steps), tuple(range(policy.dims)))
    return Exported((observe, denoise), output, _loop(policy))


def _loop(policy: LoadedPolicy) -> Loop:
    """The steps of the policy's own scheduler; behind the last one no noise is left."""
    model = policy.policy.diffusion
    scheduler = model.noise_scheduler
    scheduler.set_timesteps(model.num_inference_steps)
    times = [int(time) for time in scheduler.timesteps]
    alphas = [float(scheduler.alphas_cumprod[time]) for time in times]
    settings = scheduler.config
    return Loop(
        method="ddim",
        times=tuple(float(time) for time in times),
        v=f"{DENOISE}.v",
        time_dtype="int64",
        alphas=(*alphas, float(scheduler.final_alpha_cumprod)),
        prediction=settings.prediction_type,
        clip=float(settings.clip_sample_range) if settings.clip_sample else None,
    )
