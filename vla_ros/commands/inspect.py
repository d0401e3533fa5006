"""Look at demonstrations before training on them.

Reads all actions and instructions and a sample of the images, and shows counts, lengths, actions in SI units,
instructions, film strips (with --output), and what is odd: dimensions that never move or are clipped, an exchanged
gripper, black or frozen pictures, very short episodes, instructions that differ in spelling only.

DATASET is a file or folder whose format is recognised, a config/train/*.yaml, or a YAML file that names the format:

  lerobot: {path: data/bridge_orig_lerobot, camera: observation.images.image_0, convention: bridge}

examples:
  vla-ros inspect data/libero_object --output inspection.html
  vla-ros inspect config/train/bridge.yaml --episodes 500 --skip-bad

Exit code: 0 when it was read, with warnings or without; 2 when it cannot be read.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_ros.errors import ConfigError

if TYPE_CHECKING:
    from vla_ros.data.inspection import Inspection
    from vla_ros.data.inspection_warnings import Finding

HELP = "look at demonstrations: counts, pictures, action histograms, warnings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a data set, or a YAML file that names one")
    parser.add_argument("--output", type=Path, metavar="PATH", help="write an HTML page with pictures and plots")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file as well")
    parser.add_argument(
        "--episodes", type=int, metavar="N", help="read only N episodes, spread evenly over the data set [all]"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave bad episodes out and list them, instead of stopping at the first"
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that read, for data sets of many small files [0]"
    )


def run(args: argparse.Namespace) -> int:
    """Read, print, and write what was asked for."""
    from vla_ros.data.inspection import inspect_dataset
    from vla_ros.data.inspection_page import render
    from vla_ros.data.inspection_text import text_report
    from vla_ros.data.inspection_warnings import find_all
    from vla_ros.data.named_source import named_source

    for option, least in (("episodes", 1), ("workers", 0)):
        value = getattr(args, option)
        if value is not None and value < least:
            raise ConfigError(f"--{option}: expected >= {least}, got {value}")
    for option in ("output", "json"):
        _check_writable(option, getattr(args, option))
    name, source = named_source(args.dataset)
    inspection = inspect_dataset(
        source.open(),
        name,
        episodes=args.episodes,
        skip_bad=args.skip_bad,
        workers=args.workers,
        show_progress=sys.stderr.isatty(),
    )
    findings = find_all(inspection)
    print(text_report(inspection, findings))
    if args.output is not None:
        _write("output", args.output, render(inspection, findings))
        print(f"\npage: {args.output.absolute().as_uri()}")
    if args.json is not None:
        _write("json", args.json, json.dumps(_figures(inspection, findings), indent=2) + "\n")
        print(f"figures: {args.json}")
    return 0


def _figures(inspection: "Inspection", findings: "list[Finding]") -> dict[str, Any]:
    from vla_ros.data.inspection_json import to_json
    from vla_ros.evaluation.provenance import machine, runtime_versions

    return to_json(inspection, findings) | {"versions": runtime_versions(), "machine": machine()}


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--{option} {path}: expected a writable file, got: {error.strerror}") from error


def _check_writable(option: str, path: Path | None) -> None:
    """Find out before reading, not after it, whether a result can be written."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--{option} {path}: expected a writable file, got: {error.strerror}") from error
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        got = "a folder" if path.is_dir() else "no permission"
        raise ConfigError(f"--{option} {path}: expected a writable file, got: {got}")
