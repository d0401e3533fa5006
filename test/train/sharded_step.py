"""One update of a tiny policy in a process of a two-process FSDP2 run on the CPU: run by `test_fsdp.py`.

The calls are those of accelerate's `fsdp2_prepare_model`, which itself takes FSDP on GPUs only.
"""

import copy
import sys
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from test.train.test_memory import CONFIG
from vla_ros import config as yaml_config
from vla_ros.train.config import TrainConfig
from vla_ros.train.optimization import build_optimizer
from vla_ros.train.policy_module import TrainingModule
from vla_ros.train.shapes import build_on_meta

PROCESSES = 2


def build() -> tuple[TrainingModule, TrainConfig]:
    config = yaml_config.loads(CONFIG, TrainConfig, "test")
    policy = build_on_meta(config).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for tensor in (*policy.parameters(), *(b for b in policy.buffers() if b.is_floating_point())):
        tensor.data.normal_(std=0.1, generator=generator)
    for tensor in (b for b in policy.buffers() if not b.is_floating_point()):
        tensor.zero_()
    return TrainingModule(policy, None, huber_delta=1.0, gripper_weight=1.0, scene_weight=0.0), config


def batch(config: TrainConfig) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    samples, tokens, image = 2 * PROCESSES, config.policy.prompt.max_tokens, config.policy.image
    return {
        "pixel_values": torch.randn(samples, image.patches_per_side**2, 3 * 2 * 16 * 16, generator=generator),
        "input_ids": torch.randint(0, 300, (samples, tokens), generator=generator),
        "query_index": torch.full((samples,), tokens - 1),
        "targets": torch.rand(samples, config.chunk_size, 7, generator=generator),
        "weights": torch.full((samples, config.chunk_size), 1 / (2 * config.chunk_size)),
    }


def update(module: nn.Module, config: TrainConfig, inputs: dict[str, Tensor]) -> None:
    optimizer = build_optimizer(module, config.optimizer)
    module(**inputs)["loss"].backward()
    optimizer.step()


def main(rank: int, store: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=60)
    )
    module, config = build()
    whole = batch(config)
    alone = copy.deepcopy(module)
    # the mean over the processes is that of all samples, whose weights sum up to 1 in each process
    update(alone, config, whole | {"weights": whole["weights"] / PROCESSES})

    mesh = init_device_mesh("cpu", (PROCESSES,))
    layers = [layer for layer in module.modules() if type(layer).__name__ in module._no_split_modules]
    assert layers
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(module, mesh=mesh)
    mine = slice(2 * rank, 2 * rank + 2)
    update(module, config, {name: tensor[mine] for name, tensor in whole.items()})
    for (name, sharded), (_, expected) in zip(module.named_parameters(), alone.named_parameters(), strict=True):
        local = sharded.to_local()
        assert local.numel() <= -(-expected.shape[0] // PROCESSES) * expected[0].numel(), name
        # AdamW's first step is the sign of the gradient: where that is all but 0, rounding decides
        close = torch.isclose(sharded.full_tensor(), expected, rtol=1e-5, atol=1e-6)
        assert close.float().mean() > 0.999, f"{name}: {close.float().mean()}"
    torch.distributed.barrier()  # gloo's threads abort where the other process has gone already
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
