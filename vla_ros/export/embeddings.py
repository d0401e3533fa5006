"""The table in which the host looks words up, written piece by piece."""

from pathlib import Path

import numpy as np
import torch

from vla_ros.policies.vla_policy import VLAPolicy

ROWS_AT_ONCE = 4096


@torch.no_grad()
def write_embeddings(policy: VLAPolicy, path: Path, dtype: type[np.float16] | type[np.float32]) -> None:
    """Rows of every word, as the language model reads them, then of the ActionQueries; a `.npy` file."""
    backbone = policy.backbone
    words = backbone.word_embeddings
    count = backbone.model.config.get_text_config().vocab_size
    queries = backbone.embed_queries(policy.action_query)
    shape = (count + len(queries), backbone.hidden_size)
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, count, ROWS_AT_ONCE):
            rows = words(torch.arange(first, min(first + ROWS_AT_ONCE, count)))
            file.write(rows.float().numpy().astype(dtype).tobytes())
        file.write(queries.float().numpy().astype(dtype).tobytes())
