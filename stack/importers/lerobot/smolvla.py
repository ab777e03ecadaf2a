"""SmolVLA (Shukor et al., 2025) as two graphs: a prefix once a frame, and its action expert once a step of the loop.

The prefix reads images, words and state, and leaves keys and values of every layer; the expert reads these and moves
noise towards actions, from time 1 to time 0. What the expert attends to does not change within a frame, so that the
large half of the network runs once however many steps there are.

Images come in as the policy wants them: letterboxed, with levels from -1 to 1. Words come in padded on the right to
their full length, with a mask; LeRobot pads a single text to nothing, and a masked token changes no result.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_registry.core.contract.graphs import Loop
from stack.importers.lerobot import onnx_file
from stack.importers.lerobot.exported import FRAME, STEP, Exported, ExportedOutput
from stack.importers.lerobot.loading import LoadedPolicy

PREFIX = "prefix"
EXPERT = "expert"
LONGEST_WAVE = 10_000.0
_HALF_A_FLOAT = 4096.0
_MASKED = torch.finfo(torch.float32).min


class Prefix(nn.Module):  # type: ignore[misc]
    """(tokens int64 [1, length], mask bool [1, length], state [1, width], one image [1, 3, height, width] a camera) ->
    keys and values float32 [layers, 1, places, heads, numbers], and which places are filled, bool [1, places].
    """

    def __init__(self, model: nn.Module, cameras: int) -> None:
        super().__init__()
        self.model = model
        self.layers = _layers(model)
        self.heads = _Heads(model)
        self.state_width = int(model.config.max_state_dim)
        # The image of a camera that is never there is masked, but not the tokens that may stand around it.
        config = model.config
        padding = len(config.image_features) - cameras
        self.never_there = min(padding, int(config.empty_cameras)) if config.add_image_special_tokens else 0

    def forward(self, tokens: Tensor, mask: Tensor, state: Tensor, *images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        blanks = [-torch.ones_like(images[0])] * self.never_there
        shown = [torch.ones(1, dtype=torch.bool)] * len(images) + [torch.zeros(1, dtype=torch.bool)] * len(blanks)
        padded = functional.pad(state, (0, self.state_width - state.shape[-1]))
        hidden, filled, begins = self.model.embed_prefix([*images, *blanks], shown, tokens, mask, state=padded)
        block = torch.cumsum(begins.to(torch.int64), dim=1)
        allowed = (block[:, None, :] <= block[:, :, None]) & filled[:, None, :] & filled[:, :, None]
        turn = self.heads.turn(torch.cumsum(filled.to(torch.int64), dim=1) - 1)
        keys = []
        values = []
        for layer, _ in self.layers:
            query, key, value = self.heads.project(layer, layer.input_layernorm(hidden))
            keys.append(_rotate(key, turn))
            values.append(value)
            seen = self.heads.attend(_rotate(query, turn), keys[-1], value, allowed)
            hidden = _finish(layer, hidden, seen)
        return torch.stack(keys), torch.stack(values), filled


class Expert(nn.Module):  # type: ignore[misc]
    """(keys, values, filled of the prefix; x [1, steps, columns], time [1]) -> v [1, steps, columns], all float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers = _layers(model)
        self.heads = _Heads(model)
        self.time = TimeEmbedding(model)
        self.enter = model.action_in_proj
        self.mix = model.action_time_mlp_in
        self.blend = model.action_time_mlp_out
        self.norm = model.vlm_with_expert.lm_expert.norm
        self.leave = model.action_out_proj
        steps = int(model.config.chunk_size)
        self.register_buffer("order", torch.arange(steps).unsqueeze(0))
        self.register_buffer("past", torch.ones(steps, steps).tril().to(torch.bool).unsqueeze(0))
        self.looks_at_itself = [_looks_at_itself(model, index) for index in range(len(self.layers))]

    def forward(self, keys: Tensor, values: Tensor, filled: Tensor, x: Tensor, time: Tensor) -> Tensor:
        hidden = self._begin(x, time)
        given = filled.unsqueeze(1).expand(1, x.shape[1], filled.shape[1])
        whole = torch.cat([given, self.past], dim=2)
        behind = self.heads.turn(filled.to(torch.int64).sum(dim=1, keepdim=True) + self.order)
        alone = self.heads.turn(self.order)
        for index, (_, layer) in enumerate(self.layers):
            if layer is None:
                continue
            normed = layer.input_layernorm(hidden)
            if self.looks_at_itself[index]:
                query, key, value = self.heads.project(layer, normed)
                key = torch.cat([keys[index], _rotate(key, behind)], dim=1)
                value = torch.cat([values[index], value], dim=1)
                seen = self.heads.attend(_rotate(query, behind), key, value, whole)
            else:
                query = self.heads.split(layer.self_attn.q_proj(normed))
                key = self.heads.split(layer.self_attn.k_proj(keys[index].flatten(2)))
                value = self.heads.split(layer.self_attn.v_proj(values[index].flatten(2)))
                seen = self.heads.attend(_rotate(query, alone), key, value, given)
            hidden = _finish(layer, hidden, seen)
        v: Tensor = self.leave(self.norm(hidden))
        return v

    def _begin(self, x: Tensor, time: Tensor) -> Tensor:
        """One token for each action, which knows the time."""
        entered = self.enter(x)
        timed = torch.cat([entered, self.time(time).unsqueeze(1).expand_as(entered)], dim=2)
        result: Tensor = self.blend(functional.silu(self.mix(timed)))
        return result


class TimeEmbedding(nn.Module):  # type: ignore[misc]
    """Time [1] -> sines and cosines [1, width] of many periods.

    LeRobot computes them in float64, which not every runtime has. Here the number of waves that have passed is a sum of
    exact products of half as many digits each, and only its fraction is turned into an angle.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        config = model.config
        width = model.vlm_with_expert.expert_hidden_size
        fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64)
        rate = 1.0 / (config.min_period * (config.max_period / config.min_period) ** fraction)
        scale = 2.0 ** (torch.floor(torch.log2(rate)) - 11)
        high = torch.round(rate / scale) * scale
        self.register_buffer("high", high.to(torch.float32))
        self.register_buffer("low", (rate - high).to(torch.float32))

    def forward(self, time: Tensor) -> Tensor:
        coarse = torch.round(time * _HALF_A_FLOAT) / _HALF_A_FLOAT
        waves = self.high * coarse
        waves = waves - torch.round(waves) + self.high * (time - coarse) + self.low * time
        angle = 2.0 * math.pi * waves
        return torch.cat([torch.sin(angle), torch.cos(angle)]).unsqueeze(0)


class _Heads(nn.Module):  # type: ignore[misc]
    """Attention with fewer keys than queries, and positions told by turning both."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        text = model.vlm_with_expert.config.text_config
        self.size = int(text.head_dim)
        self.shared = int(text.num_attention_heads) // int(text.num_key_value_heads)
        half = torch.arange(self.size // 2, dtype=torch.float32)
        self.register_buffer("wave", LONGEST_WAVE ** (2.0 / self.size * half))

    def split(self, tensor: Tensor) -> Tensor:
        """[1, places, width] -> [1, places, heads, numbers]."""
        return tensor.unflatten(2, (-1, self.size))

    def project(self, layer: nn.Module, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attention = layer.self_attn
        query = self.split(attention.q_proj(normed))
        key = self.split(attention.k_proj(normed))
        return query, key, self.split(attention.v_proj(normed))

    def turn(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Sine and cosine [1, places, 1, numbers / 2] for int64 [1, places]."""
        angle = (places.to(torch.float32).unsqueeze(-1) / self.wave).unsqueeze(2)
        return torch.sin(angle), torch.cos(angle)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """[1, queries, width] of what is seen; `allowed` bool [1, queries, keys]."""
        key = key.repeat_interleave(self.shared, dim=2).permute(0, 2, 3, 1)
        value = value.repeat_interleave(self.shared, dim=2).permute(0, 2, 1, 3)
        weights = torch.matmul(query.permute(0, 2, 1, 3), key) * self.size**-0.5
        weights = torch.where(allowed.unsqueeze(1), weights, _MASKED)
        return torch.matmul(torch.softmax(weights, dim=-1), value).permute(0, 2, 1, 3).flatten(2)


def _layers(model: nn.Module) -> list[tuple[nn.Module, nn.Module | None]]:
    """The layer of the language model and that of the expert, which has None where it is shallower."""
    both = model.vlm_with_expert
    language, expert = both.get_model_layers([both.get_vlm_model().text_model, both.lm_expert])
    return list(zip(language, expert, strict=True))


def _looks_at_itself(model: nn.Module, index: int) -> bool:
    """Whether the expert's layer sees its own actions besides the prefix, or the prefix alone."""
    both = model.vlm_with_expert
    every = both.self_attn_every_n_layers
    return "cross" not in both.attention_mode or (every > 0 and index % every == 0)


def _rotate(tensor: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    sine, cosine = turn
    first, second = tensor.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def _finish(layer: nn.Module, hidden: Tensor, seen: Tensor) -> Tensor:
    """What a layer does with what its attention saw."""
    hidden = hidden + layer.self_attn.o_proj(seen)
    result: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return result


def export(policy: LoadedPolicy, folder: Path) -> Exported:
    """Write both graphs into `folder`."""
    config = policy.config
    model = policy.policy.model
    reads = Prefix(model, len(policy.directory.cameras))
    prefix = onnx_file.write(reads, folder, PREFIX, FRAME, _seen(policy), ["keys", "values", "filled"])
    chunk = (1, int(config.chunk_size), int(config.max_action_dim))
    inputs = [
        (tensor.name, f"{PREFIX}.{tensor.name}", torch.ones(tensor.shape, dtype=getattr(torch, tensor.dtype)))
        for tensor in prefix.outputs
    ]
    inputs += [("x", "x", torch.zeros(chunk)), ("time", "time", torch.ones(1))]
    expert = onnx_file.write(Expert(model), folder, EXPERT, STEP, inputs, ["v"])
    count = int(config.num_steps)
    loop = Loop("euler", tuple(1.0 - number / count for number in range(count + 1)), f"{EXPERT}.v")
    output = ExportedOutput("x", 0, chunk[1], tuple(range(policy.dims)))
    return Exported((prefix, expert), output, loop)


def _seen(policy: LoadedPolicy) -> list[tuple[str, str, Tensor]]:
    """Inputs of the prefix, by source, with examples."""
    length = int(policy.config.tokenizer_max_length)
    inputs = [
        ("tokens", "text", torch.zeros(1, length, dtype=torch.int64)),
        ("mask", "text.mask", torch.ones(1, length, dtype=torch.bool)),
        ("state", "state", torch.zeros(1, policy.state_width)),
    ]
    for name in policy.directory.cameras:
        _, height, width = policy.image_shape(name)
        if policy.config.resize_imgs_with_padding is not None:
            width, height = policy.config.resize_imgs_with_padding
        inputs.append((f"image_{name}", f"cameras.{name}", torch.zeros(1, 3, int(height), int(width))))
    return inputs
