"""Measure how fast things are, and how fast they could be.

  train CONFIG    samples per second of the data path alone, of the bare forward and backward pass on one batch, and of
                  the real training loop, in turns in one run. The data path should be at least 3 times as fast as the
                  trainer, and the trainer at least 85 % as fast as the bare pass: what is missing is waiting.
                  MFU is the share of the device's measured peak that the model's own operations use.

  inference       latency and memory of a policy's forward pass on this machine's CPU, beside torch eager fp32, beside
                  torch.compile bf16 and beside what the machine can do at best; see `vla-ros bench inference --help`.

  late-steps      what a policy's latency does to a reach, with a displacement ledger, skipping and restarting; a
                  simulation of the real gate, in a second.

example:
  vla-ros bench train config/train/libero_object_tiny.yaml --json bench.json --plot bench.png
  vla-ros bench inference config/policy/qwen3_vl_2b.yaml --json inference.json --plot inference.png
  vla-ros bench late-steps --plot late_steps.png
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError

if TYPE_CHECKING:
    from vla_ros.bench.inference import InferenceBenchmark

HELP = "measure training, inference (engines, torch, roofline) and what latency does to a reach"
TRAIN_HELP = "measure training: data path, bare computation and the real loop"
INFERENCE_HELP = "measure inference: engines, torch and the machine's roofline, side by side"
LATE_STEPS_HELP = "simulate what a policy's latency does to a reach, by what becomes of late steps"
INFERENCE = """Latency and memory of one forward pass, from an observation to the model's outputs.

With a config of config/policy/ the policy is of that real size with random weights: nothing is downloaded, and latency,
memory and numerical error are real, though the actions mean nothing. Its bundles are written once, into a folder that
the next run finds again. With --bundle a policy that exists is measured on its golden observation, without torch.

Each row is a process of its own on the same cores. All are loaded first, then asked in turns, round after round,
between two measurements of the machine's limits, so that what else the machine does hits all of them alike. Ratios are
medians of the rounds' ratios.

  torch_eager:fp32    VLAPolicy as it is, on the whole prompt; torch_compile:bf16 the same, compiled
  max error           largest difference from torch in fp32 over some frames, in model units (arm in [-1, 1], and the
                      gripper's logit; of --bundle the arm's alone)
  of roofline         the least time, by the machine's measured memory bandwidth and matrix products, over the median
  peak, resident      memory of the process, at most and after the last round

example:
  vla-ros bench inference config/policy/qwen3_vl_2b.yaml --json inference.json --plot inference.png
  vla-ros bench inference config/policy/paligemma_3b_224.yaml --rows onnx_cpu:int8,openvino_cpu:bf16 --rounds 50
  vla-ros bench inference --bundle models/libero-object-tiny --engines onnx_cpu,openvino_cpu
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    train = benchmarks.add_parser("train", help=TRAIN_HELP, description=TRAIN_HELP)
    train.add_argument("config", type=Path, help="training config, e.g. config/train/libero_object_tiny.yaml")
    train.add_argument("--steps", type=_positive, default=5, help="updates of each phase in each round (5)")
    train.add_argument("--rounds", type=_positive, default=20, help="rounds; figures are medians over them (20)")
    _add_outputs(train, "draw every update's duration into this file")
    _add_inference(
        benchmarks.add_parser(
            "inference",
            help=INFERENCE_HELP,
            description=INFERENCE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    late_steps = benchmarks.add_parser("late-steps", help=LATE_STEPS_HELP, description=LATE_STEPS_HELP)
    _add_outputs(late_steps, "draw the reaches into this file")


def _add_inference(parser: argparse.ArgumentParser) -> None:
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("config", type=Path, nargs="?", help="policy config, e.g. config/policy/qwen3_vl_2b.yaml")
    parser.add_argument("--bundle", type=Path, help="measure this bundle instead, without torch")
    parser.add_argument(
        "--rows",
        metavar="ENGINE:PRECISION,...",
        help="rows beside torch's (onnx_cpu:int8,openvino_cpu:int8,openvino_cpu:bf16)",
    )
    parser.add_argument("--engines", metavar="ENGINE,...", help="with --bundle: these instead of both CPU engines")
    parser.add_argument("--no-torch", action="store_true", help="leave torch's rows out, which need the most memory")
    parser.add_argument("--rounds", type=_positive, default=20, help="rounds; every row is timed once in each (20)")
    parser.add_argument("--threads", type=_positive, default=cores, help=f"threads and cores of each row ({cores})")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (0)")
    parser.add_argument("--work", type=Path, help="folder of the bundles (one of ~/.cache/vla_ros/bench)")
    _add_outputs(parser, "draw medians, p99 and rooflines into this file")


def _add_outputs(parser: argparse.ArgumentParser, plot_help: str) -> None:
    parser.add_argument("--json", type=Path, help="write figures, units, seeds, versions and machine to this file")
    parser.add_argument("--plot", type=Path, metavar="PNG", help=plot_help)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected >= 1, got {number}")
    return number


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for."""
    from vla_ros.bench import report

    for option, path in (("--json", args.json), ("--plot", args.plot)):
        if path is not None:
            report.check_writable(path, option)
    return {"train": _run_train, "inference": _run_inference, "late-steps": _run_late_steps}[args.benchmark](args)


def _report(args: argparse.Namespace, module: Any, measured: Any, *settings: Any) -> int:
    """Print the table of a benchmark's report module, and write what else was asked for."""
    from vla_ros.bench import report

    print(module.text(measured))
    if args.json is not None:
        report.write_json(args.json, module.document(measured, *settings))
        print(f"figures: {args.json}")
    if args.plot is not None:
        module.plot(measured, args.plot)
        print(f"plot: {args.plot}")
    return 0


def _run_late_steps(args: argparse.Namespace) -> int:
    from vla_ros.bench import late_steps, late_steps_report

    return _report(args, late_steps_report, late_steps.compare())


def _run_train(args: argparse.Namespace) -> int:
    from vla_ros.bench import train_report
    from vla_ros.bench.train import measure
    from vla_ros.train.config import TrainConfig

    config = yaml_config.load(args.config, TrainConfig)
    measured = measure(config, args.steps, args.rounds)
    return _report(args, train_report, measured, config)


def _run_inference(args: argparse.Namespace) -> int:
    from vla_ros.bench import inference_report

    if (args.config is None) == (args.bundle is None):
        raise ConfigError("bench inference: expected a policy config or --bundle, got both or neither")
    measured = _measure_random(args) if args.bundle is None else _measure_bundle(args)
    return _report(args, inference_report, measured)


def _measure_random(args: argparse.Namespace) -> "InferenceBenchmark":
    from vla_ros.bench import inference_export, inference_memory
    from vla_ros.bench.inference import RandomPolicy, choose_cores, measure_random
    from vla_ros.bench.inference_rows import BASELINES, DEFAULT_ROWS, parse_rows
    from vla_ros.engines import memory
    from vla_ros.export.random_policy import fingerprint
    from vla_ros.train.config import PolicyConfig

    if args.engines is not None:
        raise ConfigError("--engines: expected --rows beside a policy config, got --engines; it is for --bundle")
    rows = DEFAULT_ROWS if args.rows is None else parse_rows(args.rows)
    rows = rows if args.no_torch else (*BASELINES, *rows)
    choose_cores(args.threads)
    config = yaml_config.load(args.config, PolicyConfig)
    work = args.work or inference_export.default_folder(fingerprint(config, args.seed))
    precisions = tuple(dict.fromkeys(row.precision for row in rows if not row.is_torch))
    absent = inference_export.missing(work, precisions)
    weights = inference_memory.count_weights(config)
    inference_memory.check_memory(rows, weights, bool(absent), memory.free_memory_gib())
    print(
        f"bundles: {work}" + (f", to be written: {', '.join(absent)}" if absent else ", as an earlier run wrote them")
    )
    ordered = inference_memory.in_loading_order(rows, weights)
    measured = measure_random(
        RandomPolicy(config=args.config, seed=args.seed, work=work), ordered, args.rounds, args.threads
    )
    return measured.ordered(rows)


def _measure_bundle(args: argparse.Namespace) -> "InferenceBenchmark":
    from vla_ros.bench.inference import measure_bundle
    from vla_ros.bench.inference_rows import Row, default_engines, parse_engines
    from vla_ros.bundle import Bundle

    if args.rows is not None:
        raise ConfigError("--rows: expected --engines beside --bundle, got --rows; a bundle has one precision")
    engines = None if args.engines is None else parse_engines(args.engines)
    bundle = Bundle.open(args.bundle)
    graph = bundle.manifest.graph
    rows = [Row(engine, graph.precision) for engine in engines or default_engines(graph)]
    return measure_bundle(args.bundle, bundle.contract.name, rows, args.rounds, args.threads)
