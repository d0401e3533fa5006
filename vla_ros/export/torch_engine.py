"""Torch in the place of an engine, for debugging: is it the graph that is wrong, or what is around it?"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vla_ros.bundle import Bundle
from vla_ros.errors import EngineError
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.trained import TrainedPolicy, load_run


class TorchEngine:
    """The exported graph, run by torch in fp32 from the weights that were trained."""

    def __init__(self, trained: TrainedPolicy) -> None:
        """Use up a policy, as `export_bundle` does."""
        self._graph = PolicyGraph(trained.policy, trained.prefix_ids()).eval()

    @torch.no_grad()
    def infer(
        self, pixel_values: NDArray[np.float32], text_embeds: NDArray[np.float32], query_index: int
    ) -> NDArray[np.float32]:
        """See `Engine.infer`."""
        arguments = torch.from_numpy(pixel_values), torch.from_numpy(text_embeds), torch.tensor([query_index])
        output: NDArray[np.float32] = self._graph(*arguments)[0].numpy()
        return output


def open_run(run: Path, bundle: Bundle) -> TorchEngine:
    """Torch's engine for a bundle, from the run that it was exported from.

    Raises:
        EngineError: the bundle was made of other weights.
        ConfigError, DatasetError: `run` is no folder of `vla-ros train`, or damaged.
    """
    trained, _ = load_run(run)
    expected = bundle.manifest.graph.checkpoint_sha256
    if trained.checkpoint_sha256 != expected:
        raise EngineError(
            f"{run}: expected the checkpoint {expected} that {bundle.path} was made of, got {trained.checkpoint_sha256}"
        )
    return TorchEngine(trained)
