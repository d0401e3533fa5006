"""Is a policy bundle whole, and does it answer as it did where it was made?

Checks, before anything parses them, that the folder has the bundle's files and no others, that each is a regular file
with one name, of a sane size and with the manifest's sha256; then the contract against the statistics, the graph's
inputs and outputs against the contract, that its weights lie in the bundle alone and its operators are ONNX's own. At
last the engine answers the golden observation, which torch answered when the bundle was made, within the bundle's
tolerance. Exit code 0 if all holds, 1 with one line for the first problem otherwise.

example:
  vla-ros check models/libero-object-ten
  vla-ros check models/my-policy-int8 --engine openvino_cpu
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_ros.errors import VlaRosError

if TYPE_CHECKING:
    from vla_ros.bundle import Bundle
    from vla_ros.engines.policy_runner import PolicyRunner

HELP = "verify a policy bundle and run its golden observation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("--engine", default="cpu", help="the engine that answers the golden observation (cpu)")
    parser.add_argument(
        "--run",
        type=Path,
        help="let torch answer, from the folder of vla-ros train: is it the graph, or the rest?",
    )
    parser.add_argument("--threads", type=int, default=2, help="its CPU threads (2)")
    parser.add_argument("--json", type=Path, help='write {"ok", "problems"} and the bundle\'s summary to this file')


def run(args: argparse.Namespace) -> int:
    """Open the bundle as a robot would."""
    from vla_ros.bench.report import check_writable
    from vla_ros.bundle import Bundle

    if args.json:
        check_writable(args.json, "--json")
    report: dict[str, Any] = {"ok": True, "problems": []}
    try:
        bundle = Bundle.open(args.bundle)
        name, runner = open_runner(bundle, args.engine, args.threads, args.run)
        probe = runner.read_golden(bundle)
        runner.check_golden(probe, str(bundle.path / "golden.npz"))
        error = [float(value) for value in runner.golden_error(probe)]
        report |= summarize(bundle) | {"engine": name, "golden_error": error}
        print(page(bundle, name, error))
    except VlaRosError as error:
        report = {"ok": False, "problems": [str(error)]}
        print(f"{error}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if report["ok"] else 1


def open_runner(bundle: "Bundle", engine: str, threads: int, run: Path | None) -> "tuple[str, PolicyRunner]":
    """The policy on an engine, or in torch from the run that it was exported from; and the engine's own name."""
    from vla_ros.engines.engine import open_engine, resolve
    from vla_ros.engines.policy_runner import PolicyRunner

    if run is not None:
        from vla_ros.export.torch_engine import open_run

        return "torch", PolicyRunner(bundle, open_run(run, bundle))
    name = resolve(engine, bundle.manifest.graph)
    return name, PolicyRunner(bundle, open_engine(name, bundle, threads))


def summarize(bundle: "Bundle") -> dict[str, Any]:
    """What `--json` says of a bundle that is whole."""
    contract, graph = bundle.contract, bundle.manifest.graph
    return {
        "bundle_sha256": bundle.sha256,
        "name": contract.name,
        "backbone": contract.backbone,
        "recipe": contract.recipe,
        "precision": graph.precision,
        "compute": graph.compute,
        "buckets": list(graph.buckets),
        "kept": list(graph.kept),
        "tolerance": graph.tolerance,
        "parity": graph.parity,
        "checkpoint_sha256": graph.checkpoint_sha256,
        "bytes": {name: entry.size for name, entry in bundle.manifest.files.items()},
        "tool_versions": bundle.manifest.tool_versions,
    }


def page(bundle: "Bundle", engine: str, golden_error: list[float]) -> str:
    """One page for people."""
    contract, graph, files = bundle.contract, bundle.manifest.graph, bundle.manifest.files
    megabytes = sum(entry.size for entry in files.values()) / 1e6
    position, rotation = 1e3 * max(golden_error[:3]), 57.29578 * max(golden_error[3:6])
    rows = {
        "policy": f"{contract.name} ({contract.backbone}, recipe {contract.recipe})",
        "camera": f"{contract.camera.name}, {contract.camera.width} x {contract.camera.height}",
        "actions": (
            f"{contract.chunk_size} at {contract.action.control_rate_hz:g} Hz, {contract.action.rotation}, "
            f"frame {contract.action.frame_id}"
        ),
        "weights": (
            f"{graph.precision}, {graph.compute} elsewhere, {len(graph.kept)} layers kept; {megabytes:.1f} MB in all"
        ),
        "text": f"{', '.join(map(str, graph.buckets))} tokens behind the image",
        "parity": _parity(bundle),
        "golden": f"{position:.3g} mm and {rotation:.3g} deg off torch on {engine}",
        "made by": ", ".join(f"{name} {version}" for name, version in bundle.manifest.tool_versions.items()),
        "sha256": bundle.sha256,
    }
    return "\n".join([f"{bundle.path}: ok", *(f"  {name:9} {text}" for name, text in rows.items())])


def _parity(bundle: "Bundle") -> str:
    """The measured errors in one line."""
    from vla_ros import config
    from vla_ros.export.parity import Parity

    graph = bundle.manifest.graph
    parity = config.build(graph.parity, Parity, f"{bundle.path / 'manifest.json'}: graph.parity")
    return (
        f"at most {parity.worst('mm'):.3g} mm, {parity.worst('deg'):.3g} deg and {parity.gripper_flips} of "
        f"{parity.gripper_values} gripper values off torch on {parity.frames} frames ({parity.engine}); "
        f"allowed {graph.tolerance['position_mm']:g} mm, {graph.tolerance['rotation_deg']:g} deg"
    )
