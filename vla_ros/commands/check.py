"""Is a policy bundle whole, and does it answer as it did where it was made?

Checks names, sizes and sha256 of every file before anything parses it, the contract against the statistics, and runs
the golden observation through the engine. Exit code 0 if all holds, 1 with one line per problem otherwise.

example:
  vla-ros check models/libero-object-tiny
"""

import argparse
import json
from pathlib import Path

from vla_ros.errors import VlaRosError

HELP = "verify a policy bundle and run its golden observation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("--engine", default="onnx_cpu", help="the engine that answers the golden observation")
    parser.add_argument("--threads", type=int, default=2, help="its CPU threads (2)")
    parser.add_argument("--json", type=Path, help='write {"ok", "problems"} and the bundle\'s summary to this file')


def run(args: argparse.Namespace) -> int:
    """Open the bundle as a robot would."""
    from vla_ros.engines.policy_runner import PolicyRunner

    report: dict[str, object] = {"ok": True, "problems": []}
    try:
        runner = PolicyRunner.open(args.bundle, args.engine, args.threads)
        contract = runner.contract
        report |= {"bundle_sha256": runner.bundle_sha256, "name": contract.name, "backbone": contract.backbone}
        print(
            f"{args.bundle}: ok\n"
            f"  policy    {contract.name} ({contract.backbone}, recipe {contract.recipe})\n"
            f"  camera    {contract.camera.name}, {contract.camera.width} x {contract.camera.height}\n"
            f"  actions   {contract.chunk_size} at {contract.action.control_rate_hz:g} Hz, "
            f"{contract.action.rotation}, frame {contract.action.frame_id}\n"
            f"  sha256    {runner.bundle_sha256}"
        )
    except VlaRosError as error:
        report = {"ok": False, "problems": [str(error)]}
        print(f"{error}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if report["ok"] else 1
