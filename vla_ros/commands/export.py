"""Turn a training run into a policy bundle that robots run.

Writes an ONNX graph with everything that it needs (weights, word embeddings, contract, tokenizer, statistics, a golden
observation, hashes), asks torch and an inference engine about the same real frames, and refuses the export if their
answers differ by more than the precision allows; the bundle's parity.html shows by how much, in mm and degrees. The
bundle is written whole or not at all.

  fp32   exact, the largest              int8   8-bit weights and inputs: the fastest on CPUs, for GPUs too
  bf16   half the size; AMX CPUs, GPUs   int4   4-bit weights: the smallest; saves memory, on a CPU no time
  fp16   half the size; GPUs             fp8    8-bit floats: GPUs since Ada and Hopper; Orin has none

Ranges of int8 and fp8 are found on frames of the training data that the report does not use. Layers that rounding hurts
are found by --sensitivity layer, and kept in floats by `keep:` of a file in config/export/.

example:
  vla-ros export runs/libero_object_tiny --output models/my-policy
  vla-ros export runs/libero_object_tiny --precision int8 --output models/my-policy-int8 --sensitivity block
  vla-ros export runs/my_run --config config/export/fp8_gpu.yaml --output models/my-policy-fp8
  vla-ros export --random-weights config/policy/qwen3_vl_2b.yaml --precision int8 --output models/random   # no download
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from vla_ros import config as yaml_config
from vla_ros.bundle import Precision

if TYPE_CHECKING:
    from vla_ros.export.exporter import Frames
    from vla_ros.export.trained import TrainedPolicy

HELP = "turn a training run into a policy bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("run", type=Path, nargs="?", help="the output folder of vla-ros train")
    source.add_argument(
        "--random-weights",
        type=Path,
        metavar="CONFIG",
        help="one of config/policy/ at its real size instead: a policy that means nothing, to measure on, with "
        "ten times the tolerance",
    )
    parser.add_argument("--output", type=Path, required=True, help="the bundle's folder; a bundle there is replaced")
    parser.add_argument("--precision", choices=get_args(Precision), help="of the weights (fp32, or as the config says)")
    parser.add_argument("--config", type=Path, help="export config, one of config/export/")
    parser.add_argument("--model-card", type=Path, help="Markdown that becomes the bundle's MODEL_CARD.md")
    parser.add_argument("--frames", type=_positive, default=200, help="frames on which it is compared with torch (200)")
    parser.add_argument(
        "--sensitivity", choices=("layer", "block"), help="find the layers, or blocks of them, that rounding hurts"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected >= 1, got {number}")
    return number


def run(args: argparse.Namespace) -> int:
    """Export, compare, seal."""
    from vla_ros.export.config import ExportConfig
    from vla_ros.export.exporter import export_bundle
    from vla_ros.export.parity import tolerance_of_random_weights
    from vla_ros.export.planning import FLOATS

    settings = ExportConfig(precision=args.precision or "fp32")
    if args.config is not None:
        settings = yaml_config.load(args.config, ExportConfig)
        settings = yaml_config.override(settings, "--precision", precision=args.precision)
    if args.random_weights is not None and settings.tolerance is None:
        settings = replace(settings, tolerance=tolerance_of_random_weights(settings.precision))
    card = yaml_config.read_text(args.model_card, "Markdown file") if args.model_card else None
    # floats need no ranges, but one frame shows that they are finite
    trained, frames = _read(args, 1 if settings.precision in FLOATS else settings.calibration_frames)
    info = export_bundle(trained, frames, settings, args.output, card, args.sensitivity)
    print(
        f"{args.output}: {info.precision}, {info.compute} elsewhere, {len(info.kept)} layers kept, buckets of "
        f"{', '.join(map(str, info.buckets))} tokens, at most {info.peak_memory_gib:g} GiB of memory\n"
        f"look at {args.output / 'parity.html'}, then: vla-ros check {args.output}"
    )
    return 0


def _read(args: argparse.Namespace, calibration: int) -> "tuple[TrainedPolicy, Frames]":
    """The policy and its frames: of a run, or random ones."""
    from vla_ros.export.exporter import Frames

    if args.random_weights is not None:
        from vla_ros.export.random_policy import random_frames, random_policy
        from vla_ros.train.config import PolicyConfig

        policy = random_policy(yaml_config.load(args.random_weights, PolicyConfig), args.random_weights.stem)
        frames = random_frames(calibration + args.frames, seed=0)
        return policy, Frames(calibration=frames[:calibration], report=frames[calibration:])
    from vla_ros.export.frames import read_frames
    from vla_ros.export.trained import load_run

    trained, training = load_run(args.run)
    calibration_frames, report = read_frames(training, calibration, args.frames)
    return trained, Frames(calibration=calibration_frames, report=report)
