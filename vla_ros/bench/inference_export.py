"""Bundles of random weights for the inference benchmark, one process each, so that their memory is free afterwards.

work folder/  reference.npz   torch's answers in fp32 to the benchmark's frames
              int8/ bf16/ …   a bundle each
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_ros import __version__
from vla_ros import config as yaml_config
from vla_ros.bundle import FORMAT, MANIFEST, Precision, parse_manifest
from vla_ros.errors import BundleError, EngineError
from vla_ros.export.random_frames import random_frames

REFERENCE = "reference.npz"
FRAMES, CALIBRATION_FRAMES, REPORT_FRAMES = 10, 8, 2
FRAMES_SEED, CALIBRATION_SEED = 1, 2


def default_folder(fingerprint: str) -> Path:
    """For weights of this fingerprint, by this version of the package."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vla_ros" / "bench" / f"{__version__}-{FORMAT}-{fingerprint[:16]}"


def missing(work: Path, precisions: Sequence[Precision]) -> list[Precision]:
    """Precisions whose bundle is not there, or is of an older layout; without the reference all count as such."""
    if not (work / REFERENCE).is_file():
        return list(precisions)
    return [precision for precision in precisions if not _is_readable(work / precision / MANIFEST)]


def _is_readable(manifest: Path) -> bool:
    try:
        parse_manifest(manifest, manifest.read_bytes())
    except (OSError, BundleError):
        return False
    return True


def read_reference(work: Path) -> NDArray[np.float32]:
    """Torch's answers, float32 [FRAMES, chunk_size, 7] in model units."""
    with np.load(work / REFERENCE, allow_pickle=False) as arrays:
        return np.asarray(arrays["outputs"], np.float32)


def export_in_process(config: Path, seed: int, precision: Precision, work: Path) -> None:
    """Run `export` in a process of its own, which shows its progress.

    Raises:
        EngineError: it failed, for a reason that it printed.
    """
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __spec__.name, str(config), str(seed), precision, str(work)]
    code = subprocess.run(command, check=False, stdout=sys.stderr).returncode
    if code:
        reason = "the system killed it, for want of memory?" if code < 0 else "see above"
        raise EngineError(f"bench inference: expected a bundle of {precision}, got none: {reason}")


def export(config: Path, seed: int, precision: Precision, work: Path) -> None:
    """Draw the weights, ask torch, write the bundle.

    Raises:
        VlaRosError: as `random_policy` and `export_bundle`.
    """
    from vla_ros.export.config import ExportConfig
    from vla_ros.export.exporter import Frames, export_bundle
    from vla_ros.export.parity import tolerance_of_random_weights
    from vla_ros.export.random_policy import random_policy
    from vla_ros.train.config import PolicyConfig

    trained = random_policy(yaml_config.load(config, PolicyConfig), name=config.stem, seed=seed)
    if not (work / REFERENCE).is_file():
        outputs = [trained.outputs(frame) for frame in random_frames(FRAMES, FRAMES_SEED)]
        np.savez(work / REFERENCE, outputs=np.stack(outputs))
    frames = Frames(
        calibration=random_frames(CALIBRATION_FRAMES, CALIBRATION_SEED),
        report=random_frames(REPORT_FRAMES, CALIBRATION_SEED + 1),
    )
    allowed = tolerance_of_random_weights(precision)
    settings = ExportConfig(precision=precision, calibration_frames=CALIBRATION_FRAMES, tolerance=allowed)
    export_bundle(trained, frames, settings, work / precision, card=None)


def _main() -> int:
    from typing import cast

    from vla_ros.errors import VlaRosError

    config, seed, precision, work = sys.argv[1:]
    try:
        export(Path(config), int(seed), cast("Precision", precision), Path(work))
    except VlaRosError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
