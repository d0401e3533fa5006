"""A policy of any config at its real size, from random weights: latency, memory and machinery without a download.

What it commands means nothing. Everything else is as it is of a trained one: the graph, its numbers' types and sizes,
the prompt's length, an image and an instruction that change the answer.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vla_ros import config as yaml_config
from vla_ros.action import ActionSpace
from vla_ros.contract import PolicyContract
from vla_ros.errors import ConfigError
from vla_ros.export.random_frames import CAMERA, INSTRUCTIONS, random_frames
from vla_ros.export.trained import TrainedPolicy
from vla_ros.observation import CameraSpec
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.processing.normalization import Statistics
from vla_ros.processing.tokenizer import train_tokenizer
from vla_ros.recipe import RecipeName
from vla_ros.train.build import build_policy, build_prompt_encoder
from vla_ros.train.config import PolicyConfig

__all__ = ["CAMERA", "INSTRUCTIONS", "random_frames", "random_policy", "random_statistics"]

CHUNK_SIZE = 10
VOCABULARY = 1024
"""Enough that most words of the prompts are one token, as in the family's own tokenizer."""
_BLOCK = 4_194_301
"""Prime, so that no two rows of a weight are the same numbers."""
_QUERY_STD = 0.02
_STEP_M, _STEP_RAD = 0.02, 0.1


def random_policy(
    config: PolicyConfig,
    name: str = "random",
    seed: int = 0,
    camera: CameraSpec = CAMERA,
    chunk_size: int = CHUNK_SIZE,
    recipe: RecipeName = "paper",
) -> TrainedPolicy:
    """Weights of `config.backbone_config` drawn from `seed` in seconds, in fp32 and held once; nothing is downloaded.

    Args:
        name: of the contract.
        camera: whose frames it takes.
        chunk_size: actions per forward pass.

    Raises:
        ConfigError: the config does not give its backbone's sizes, or the family refuses them.
    """
    if config.backbone_config is None:
        raise ConfigError("policy.backbone_config: expected the model's sizes for random weights, got nothing")
    config = replace(config, lora=None)
    tokenizer = train_tokenizer(list(INSTRUCTIONS), config.tokenizer_vocabulary or VOCABULARY, config.prompt.template)
    with _DrawFromBlock(seed):
        policy = build_policy(config, recipe, chunk_size, tokenizer, seed, pretrained=False).eval()
    _draw_queries(policy, seed)
    statistics = random_statistics()
    statistics_json = statistics.to_json()
    contract = PolicyContract(
        name=name,
        backbone=config.backbone,
        recipe=recipe,
        camera=camera,
        image=config.image,
        prompt=config.prompt,
        action=ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=20.0),
        chunk_size=chunk_size,
        statistics_sha256=hashlib.sha256(statistics_json.encode()).hexdigest(),
        action_queries=config.action_queries,
    )
    return TrainedPolicy(
        policy=policy,
        encoder=build_prompt_encoder(tokenizer, config, recipe),
        contract=contract,
        statistics=statistics,
        tokenizer_json=tokenizer.to_str(pretty=True),
        statistics_json=statistics_json,
        description=f"random weights of seed {seed}, which were never trained",
        checkpoint_sha256=fingerprint(config, seed),
    )


def fingerprint(config: PolicyConfig, seed: int) -> str:
    """sha256 of what the weights follow from, in place of that of a checkpoint."""
    return hashlib.sha256(f"random weights of seed {seed}\n{yaml_config.dumps(config)}".encode()).hexdigest()


def random_statistics() -> Statistics:
    """Of steps of +-2 cm and +-0.1 rad, as a tabletop robot's at 20 Hz are."""
    half = np.array([*(_STEP_M,) * 3, *(_STEP_RAD,) * 3, 0.5])
    middle = np.array([*(0.0,) * 6, 0.5])
    rows = middle + half * np.linspace(-1, 1, 101)[:, None]
    return Statistics.of(rows.astype(np.float32))


@torch.no_grad()
def _draw_queries(policy: VLAPolicy, seed: int) -> None:
    """Training starts from zeros, and ends elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    policy.action_query.normal_(std=_QUERY_STD, generator=generator)


class _DrawFromBlock(TorchFunctionMode):
    """Fills parameters from a block of normal and one of uniform numbers, as a layer's author asked for.

    Drawing two billion numbers takes torch most of a minute, copying them some seconds. Mean and spread are those
    that were asked for; every tensor begins elsewhere in the block.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        root = 3**0.5
        self._normal = torch.randn(_BLOCK, generator=generator)
        self._uniform = torch.empty(_BLOCK).uniform_(-root, root, generator=generator)
        self._place = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        # by name: transformers has functions of its own in the place of torch.nn.init's while it builds a model
        name = getattr(func, "__name__", "")
        if name not in _MOMENTS:
            return func(*args, **kwargs)
        tensor, rest = (args[0], args[1:]) if args else (kwargs.pop("tensor"), ())
        mean, std = _MOMENTS[name](tensor, *rest, **kwargs)
        return self._fill(tensor, self._normal if name == "normal_" else self._uniform, mean, std)

    @torch.no_grad()
    def _fill(self, tensor: Tensor, block: Tensor, mean: float, std: float) -> Tensor:
        """`block` has a mean of 0 and a standard deviation of 1."""
        flat, first = tensor.view(-1), 0
        while first < len(flat):
            length = min(len(flat) - first, _BLOCK - self._place)
            torch.mul(block[self._place : self._place + length], std, out=flat[first : first + length])
            first, self._place = first + length, (self._place + length) % _BLOCK
        return tensor.add_(mean) if mean else tensor


def _normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> tuple[float, float]:
    return float(mean), float(std)


def _uniform(tensor: Tensor, a: float = 0.0, b: float = 1.0, **bounds: Any) -> tuple[float, float]:
    """torch.nn.init calls the bounds `a` and `b`, the tensor's own method `from` and `to`."""
    low, high = bounds.get("from", a), bounds.get("to", b)
    return (low + high) / 2, (high - low) / 12**0.5


def _kaiming(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: Any = "leaky_relu", **_: Any
) -> tuple[float, float]:
    fan = tensor[0].numel() if mode == "fan_in" else tensor[:, 0].numel()
    return 0.0, float(nn.init.calculate_gain(nonlinearity, a)) / fan**0.5


_MOMENTS: dict[str, Callable[..., tuple[float, float]]] = {
    "normal_": _normal,
    "uniform_": _uniform,
    "kaiming_uniform_": _kaiming,
}
"""Mean and standard deviation that a function asks for; all others end in one of these."""
