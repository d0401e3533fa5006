"""A training run whose weights are sharded by accelerate's FSDP, in CPU processes: run by torchrun.

accelerate has FSDP on accelerators only, and takes CPU processes for DDP; all its code runs on them nevertheless.
"""

import sys
from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from vla_ros import config
from vla_ros.train import checkpoint, loop
from vla_ros.train.accelerator import fsdp_plugin, make_accelerator
from vla_ros.train.config import RunConfig, TrainConfig
from vla_ros.train.data import load_data
from vla_ros.train.policy_task import PolicyTask


def make_sharding_accelerator(settings: RunConfig) -> Accelerator:
    accelerator = make_accelerator(settings)
    accelerator.state.fsdp_plugin = fsdp_plugin(settings)
    for state in (AcceleratorState, PartialState):
        state._shared_state["distributed_type"] = DistributedType.FSDP
    accelerator.state.distributed_type = DistributedType.FSDP
    return accelerator


def main() -> None:
    loop.make_accelerator = make_sharding_accelerator  # type: ignore[attr-defined]
    settings = config.load(Path(sys.argv[1]), TrainConfig)
    run = loop.TrainingLoop(settings, PolicyTask(settings, load_data(settings, show_progress=False)))
    for name, parameter in run.module.named_parameters():
        assert isinstance(parameter, DTensor), name
        assert len(parameter.to_local()) <= -(-len(parameter) // run.accelerator.num_processes), name
    # otherwise whole gradients would stay in every process from pass to pass
    assert run.accelerator.gradient_state.plugin_kwargs["sync_each_batch"]
    newest = checkpoint.latest(settings.output)
    if newest is not None:
        run.resume(newest)
    run.run()


if __name__ == "__main__":
    main()
