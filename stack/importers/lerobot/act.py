"""ACT (Zhao et al., 2023) as one graph: images and joint state -> a chunk of actions.

LeRobot's own forward lists the features of every camera one by one, which becomes tens of thousands of nodes. Here they
stay tensors that are put behind each other, and all that no observation changes is a constant: positions, and the token
of the latent, which is zero at run time.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from stack.importers.lerobot import onnx_file
from stack.importers.lerobot.exported import FRAME, Exported, ExportedOutput
from stack.importers.lerobot.loading import LoadedPolicy

ID = "policy"


class ActChunk(nn.Module):  # type: ignore[misc]
    """(state [1, width], one image [1, 3, height, width] a camera) -> normalised actions [1, chunk, dims]."""

    def __init__(self, act: nn.Module, images: tuple[Tensor, ...]) -> None:
        """`images` are examples, in the order of the policy's cameras."""
        super().__init__()
        self.backbone = act.backbone
        self.project_image = act.encoder_img_feat_input_proj
        self.project_state = act.encoder_robot_state_input_proj
        self.encoder = act.encoder
        self.decoder = act.decoder
        self.head = act.action_head
        config = act.config
        with torch.no_grad():
            latent = act.encoder_latent_input_proj(torch.zeros(1, config.latent_dim))
            places = [act.encoder_1d_feature_pos_embed.weight.unsqueeze(1)]
            places += [_tokens(act.encoder_cam_feat_pos_embed(self._features(image))) for image in images]
        self.register_buffer("latent", latent.unsqueeze(0))
        self.register_buffer("places", torch.cat(places))
        self.register_buffer("queries", act.decoder_pos_embed.weight.detach().clone().unsqueeze(1))
        self.register_buffer("start", torch.zeros(config.chunk_size, 1, config.dim_model))

    def forward(self, state: Tensor, *images: Tensor) -> Tensor:
        tokens = [self.latent, self.project_state(state).unsqueeze(0)]
        tokens += [_tokens(self.project_image(self._features(image))) for image in images]
        seen = self.encoder(torch.cat(tokens), pos_embed=self.places)
        chunk = self.decoder(self.start, seen, encoder_pos_embed=self.places, decoder_pos_embed=self.queries)
        actions: Tensor = self.head(chunk.transpose(0, 1))
        return actions

    def _features(self, image: Tensor) -> Tensor:
        features: Tensor = self.backbone(image)["feature_map"]
        return features


def _tokens(features: Tensor) -> Tensor:
    """[1, channels, height, width] -> [height · width, 1, channels], one token a place."""
    return features.flatten(2).permute(2, 0, 1)


def export(policy: LoadedPolicy, folder: Path) -> Exported:
    """Write the graph into `folder`."""
    images = {name: torch.zeros(1, *policy.image_shape(name)) for name in policy.directory.cameras}
    inputs = [("state", "state", torch.zeros(1, policy.state_width))]
    inputs += [(f"image_{name}", f"cameras.{name}", image) for name, image in images.items()]
    module = ActChunk(policy.policy.model, tuple(images.values()))
    graph = onnx_file.write(module, folder, ID, FRAME, inputs, ["actions"])
    rows = int(policy.config.chunk_size)
    return Exported((graph,), ExportedOutput(f"{ID}.actions", 0, rows, tuple(range(policy.dims))))
