"""Turn a training run into a policy bundle that robots run.

Writes an ONNX graph in fp32 with everything that it needs (contract, tokenizer, statistics, a golden observation,
hashes), and proves on real frames that ONNX Runtime answers as torch does. The bundle is written whole or not at all.

example:
  vla-ros export runs/libero_object_tiny --output models/my-policy
"""

import argparse
from pathlib import Path

HELP = "turn a training run into a policy bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("run", type=Path, help="the output folder of vla-ros train")
    parser.add_argument("--output", type=Path, required=True, help="the bundle's folder; a bundle there is replaced")
    parser.add_argument("--model-card", type=Path, help="Markdown that becomes the bundle's MODEL_CARD.md")
    parser.add_argument("--frames", type=int, default=200, help="frames on which torch and ONNX are compared (200)")


def run(args: argparse.Namespace) -> int:
    """Export, compare, seal."""
    from vla_ros.export.exporter import export_bundle

    errors = export_bundle(args.run, args.output, args.model_card, args.frames)
    print(f"{args.output}: largest difference from torch on {args.frames} frames:")
    for name, error in errors.items():
        unit = {"x": "mm", "y": "mm", "z": "mm", "gripper": "flips"}.get(name, "mrad")
        print(f"  {name:8} {error if unit == 'flips' else 1e3 * error:.2g} {unit}")
    print(f"next: vla-ros check {args.output}")
    return 0
