"""Measure how fast things are, and how fast they could be.

  train CONFIG    samples per second of the data path alone, of the bare forward and backward pass on one batch, and of
                  the real training loop, in turns in one run. The data path should be at least 3 times as fast as the
                  trainer, and the trainer at least 85 % as fast as the bare pass: what is missing is waiting.
                  MFU is the share of the device's measured peak that the model's own operations use.

  inference       latency and memory of a policy's forward pass on this machine's CPU, beside torch eager fp32, beside
                  torch.compile bf16 and beside what the machine can do at best; see `vla-ros bench inference --help`.

  reaction        from a camera image to the first command derived from it: both nodes as real processes with a camera
                  and a receiver, stage by stage, idle and beside busy neighbours; emergency stops; the gate's ticks;
                  see `vla-ros bench reaction --help`.

  late-steps      what a policy's latency does to a reach, with a displacement ledger, skipping and restarting; a
                  simulation of the real gate, in a second.

  sim CONFIG      episodes per hour of an evaluation in a simulator, which renders only what the policy sees, beside a
                  bridge that renders every step: the same episodes over ROS 2, in turns.

example:
  vla-ros bench train config/train/libero_object_tiny.yaml --json bench.json --plot bench.png
  vla-ros bench inference config/policy/qwen3_vl_2b.yaml --json inference.json --plot inference.png
  vla-ros bench reaction --frames 900
  vla-ros bench late-steps --plot late_steps.png
  vla-ros bench sim config/sim/libero_object.yaml --episodes 5 --json sim.json
"""

import argparse
import importlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_ros import config as yaml_config
from vla_ros.errors import ConfigError

if TYPE_CHECKING:
    from vla_ros.bench.inference import InferenceBenchmark
    from vla_ros.bench.reaction import Case, Placement

HELP = (
    "measure training, inference (engines, torch, roofline), reaction times, simulators, what latency does to a reach"
)
TRAIN_HELP = "measure training: data path, bare computation and the real loop"
INFERENCE_HELP = "measure inference: engines, torch and the machine's roofline, side by side"
REACTION_HELP = "measure reaction: camera image to command through the real nodes, by stage; stops; ticks"
LATE_STEPS_HELP = "simulate what a policy's latency does to a reach, by what becomes of late steps"
SIM_HELP = "measure episodes per hour in a simulator, beside rendering every step"
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
  vla-ros bench inference --bundle models/libero-object-ten --engines onnx_cpu,openvino_cpu
"""
REACTION = """From the stamp of a camera image to the first command derived from it, stage by stage.

policy_node and command_gate run as on a robot: processes of their own, in real time, over Fast DDS with the shipped
profile. A camera process publishes images at 30 Hz with some jitter, best effort; the gate commands at 100 Hz; a
receiver notes every command. All of them keep a trace (the nodes' parameter `trace`), and the traces are joined by the
image's stamp. The policy answers at once, so what is measured is the way there and back; --policy takes a real one.

  transport           stamp -> policy_node has the image, the camera's own publishing included
  admission_decode    -> it is fresh, in order, as its camera's should be, and copied
  queue               -> the inference thread has it
  preprocess, inference
  chunk_transport     -> command_gate has the chunk and has admitted it
  gate_wait           -> the next tick; 0 to 10 ms by chance, so figures are also given without it
  publish             -> the receiver has the command

Then the emergency stop is pressed again and again, while images go on: a stop is missed if any command that moves
leaves the gate later than one period of commands after that. How late the gate's ticks are is measured all the while.

  --loads idle        nothing else to do
          neighbour   beside a process per core that multiplies matrices and reads JSON without a pause
          policy      the policy itself computes on every core for 25 ms per image

Where the system permits it, the nodes run with real-time priority (their parameters thread_priority and
inference_priority); the report says with what they ran. 10000 images take 5 min 33 s a case. Ctrl-C ends the run and
reports what there is.

example:
  vla-ros bench reaction --frames 900
  vla-ros bench reaction --sizes 640x480,1280x720 --loads idle,neighbour,policy --json reaction.json --plot reaction.png
  vla-ros bench reaction --policy models/libero-object-ten --threads 2
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
    _add_reaction(
        benchmarks.add_parser(
            "reaction",
            help=REACTION_HELP,
            description=REACTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    late_steps = benchmarks.add_parser("late-steps", help=LATE_STEPS_HELP, description=LATE_STEPS_HELP)
    _add_outputs(late_steps, "draw the reaches into this file")
    sim = benchmarks.add_parser("sim", help=SIM_HELP, description=SIM_HELP)
    sim.add_argument("config", type=Path, help="config/sim/*.yaml")
    sim.add_argument("--episodes", type=_positive, help="episodes of each task [the config's]")
    sim.add_argument("--rounds", type=_positive, default=2, help="how often each bridge runs them, in turns (2)")
    sim.add_argument("--output", type=Path, help="folder of all results (runs/bench-sim-<date>-<time>)")
    sim.add_argument("--json", type=Path, help="write figures, units, seeds, versions and machine to this file")
    sim.set_defaults(plot=None)


def _add_inference(parser: argparse.ArgumentParser) -> None:
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("config", type=Path, nargs="?", help="policy config, e.g. config/policy/qwen3_vl_2b.yaml")
    parser.add_argument("--bundle", type=Path, help="measure this bundle instead, without torch")
    parser.add_argument(
        "--rows",
        metavar="ENGINE:PRECISION,...",
        help="rows beside torch's (onnx_cpu:int8,openvino_cpu:int8,openvino_cpu:bf16, of what this CPU computes)",
    )
    parser.add_argument("--engines", metavar="ENGINE,...", help="with --bundle: these instead of both CPU engines")
    parser.add_argument("--no-torch", action="store_true", help="leave torch's rows out, which need the most memory")
    parser.add_argument("--rounds", type=_positive, default=20, help="rounds; every row is timed once in each (20)")
    parser.add_argument("--threads", type=_positive, default=cores, help=f"threads and cores of each row ({cores})")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (0)")
    parser.add_argument("--work", type=Path, help="folder of the bundles (one of ~/.cache/vla_ros/bench)")
    _add_outputs(parser, "draw medians, p99 and rooflines into this file")


def _add_reaction(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, metavar="BUNDLE", help="a real policy, with images of its camera's size")
    parser.add_argument("--engine", default="cpu", help="inference engine of --policy (cpu: the fastest on this CPU)")
    parser.add_argument("--threads", type=_positive, default=1, help="threads of --policy's engine (1)")
    parser.add_argument("--sizes", metavar="WIDTHxHEIGHT,...", help="image sizes (640x480)")
    parser.add_argument("--loads", default="idle", metavar="LOAD,...", help="what the machine has to do besides (idle)")
    parser.add_argument("--frames", type=_positive, default=10_000, help="images that are followed, a case (10000)")
    parser.add_argument("--stops", type=_positive, help="emergency stops, a case (one per 100 images, at least 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the images, and of when they and the stops come (0)")
    parser.add_argument(
        "--priorities", choices=("auto", "none"), default="auto", help="real-time where permitted, or the usual ones"
    )
    _add_outputs(parser, "draw how long images take, and the stages, into this file")


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

    if args.plot is not None:
        importlib.import_module("matplotlib.figure")  # whether it is missing is not to be found out half an hour later
    for option, path in (("--json", args.json), ("--plot", args.plot)):
        if path is not None:
            report.check_writable(path, option)
    benchmarks = {
        "train": _run_train,
        "inference": _run_inference,
        "reaction": _run_reaction,
        "late-steps": _run_late_steps,
        "sim": _run_sim,
    }
    return benchmarks[args.benchmark](args)


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


def _run_sim(args: argparse.Namespace) -> int:
    from vla_ros.bench import simulation
    from vla_ros.sim.episode import SimConfig

    config = yaml_config.load(args.config, SimConfig)
    config = yaml_config.override(config, "command line", episodes_per_task=args.episodes)
    output = args.output or Path("runs") / f"bench-sim-{time.strftime('%Y%m%d-%H%M%S')}"
    return _report(args, simulation, simulation.measure(config, output, args.rounds), config)


def _run_reaction(args: argparse.Namespace) -> int:
    from vla_ros.bench import reaction, reaction_report

    placement = reaction.choose_placement(args.priorities)
    return _report(args, reaction_report, reaction.measure(_reaction_cases(args, placement)))


def _reaction_cases(args: argparse.Namespace, placement: "Placement") -> "list[Case]":
    from vla_ros.bench.reaction import Case, parse_load, parse_size
    from vla_ros.bench.reaction_nodes import make_contract
    from vla_ros.bundle import Bundle

    loads = [parse_load(text) for text in args.loads.split(",")]
    if args.policy is None:
        contracts = [make_contract(*parse_size(text)) for text in (args.sizes or "640x480").split(",")]
    elif args.sizes is not None or "policy" in loads:
        raise ConfigError(
            "--policy: expected neither --sizes, which its camera has, nor --loads policy, got one of them"
        )
    else:
        contracts = [Bundle.open(args.policy).contract]
    return [
        Case(
            contract=contract,
            load=load,
            frames=args.frames,
            stops=args.stops or max(10, args.frames // 100),
            seed=args.seed,
            bundle=args.policy,
            engine=args.engine,
            threads=args.threads,
            placement=placement,
        )
        for contract in contracts
        for load in loads
    ]


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
    from vla_ros.bench.inference_rows import BASELINES, DEFAULT_ROWS, as_far_as_computed_here, parse_rows
    from vla_ros.engines import memory
    from vla_ros.export.random_policy import fingerprint
    from vla_ros.train.config import PolicyConfig

    if args.engines is not None:
        raise ConfigError("--engines: expected --rows beside a policy config, got --engines; it is for --bundle")
    asked = () if args.rows is None else parse_rows(args.rows)
    usual = (*(() if args.no_torch else BASELINES), *(() if asked else DEFAULT_ROWS))
    computed = as_far_as_computed_here(usual)
    if left_out := [row.name for row in usual if row not in computed]:
        print(f"left out, as this CPU does not compute it: {', '.join(left_out)}")
    rows = (*computed, *asked)
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
