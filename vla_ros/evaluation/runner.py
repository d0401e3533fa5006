"""Runs an evaluation: groups of policy_node, command_gate and bridge over ROS 2, on this machine or on many."""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from vla_ros.errors import ConfigError
from vla_ros.evaluation import resume
from vla_ros.evaluation.domain import reserved_domain
from vla_ros.evaluation.plan import (
    AS_CONFIGURED,
    POLICY_NODE,
    Plan,
    Variant,
    child_environment,
    node_commands,
    prepare,
)
from vla_ros.evaluation.processes import Processes
from vla_ros.evaluation.progress import Current, ProgressBar
from vla_ros.evaluation.record import Candidate, Evaluation, to_json
from vla_ros.evaluation.report import write_report
from vla_ros.evaluation.worker import Worker
from vla_ros.sim.episode import EpisodeKey, EpisodeResult, ResultFile, SimConfig, read_results

POLL_S = 0.2
HOLD_MARGIN_S = 5.0
"""How much longer than the gate's timeout the bridge may take to record an episode as held [s]."""
CORES_A_WORKER = 2
"""A simulator and a policy."""

Watch = Callable[[Sequence[EpisodeResult], Sequence[Current | None]], None]
"""Told of all results so far, and of what each worker is at."""

Runner = Callable[[Plan, Sequence[EpisodeKey], Watch, int], str]
"""Runs these episodes of a plan and appends their results in its folder; takes the folder's lock, and returns why it
broke off, or nothing."""


def evaluate(
    config: SimConfig,
    output: Path,
    variant: Variant = AS_CONFIGURED,
    run: Runner | None = None,
    selection: tuple[Candidate, ...] = (),
) -> Evaluation:
    """Run all episodes that have no result yet, and write `summary.json` and `report.html` beside the bridges' videos.

    An evaluation that breaks off still gives its finished episodes, with `failure` set; no process outlives this call.
    The same call again goes on where it was broken off or killed.

    Args:
        config: what to run.
        output: folder of the results.
        variant: what differs from the configuration's files.
        run: how; None: on this machine, with as many workers as have two cores each.
        selection: how the variant was chosen, for the report.

    Raises:
        VlaRosError: as `plan.prepare` and `resume.begin`, before anything is started.
    """
    plan = prepare(config, output, variant)
    started = time.monotonic()
    with resume.claimed(output) as lock:
        plan = resume.begin(plan)
        left = resume.remaining(plan)
        failure = ""
        if left:
            done = len(plan.config.episodes) - len(left)
            with ProgressBar(len(plan.config.episodes), done) as bar:
                failure = (run or local(default_workers(config)))(plan, left, bar.update, lock)
        unfinished = len(resume.remaining(plan)) if not failure else 0
        if unfinished:
            failure = f"{unfinished} episodes have no result"
        evaluation = Evaluation(
            config=plan.config,
            output=plan.output,
            provenance=plan.provenance,
            backbone=plan.backbone,
            chunk_size=plan.chunk_size,
            execution_horizon=plan.execution_horizon,
            results=tuple(in_order(plan)),
            failure=failure,
            wall_s=time.monotonic() - started,
            broken=tuple(read_results(output / resume.BROKEN)),
            gate_counts=gate_counts(output),
            selection=selection,
        )
        resume.write_whole(output / "summary.json", json.dumps(to_json(evaluation), indent=2) + "\n")
        write_report(evaluation)
    return evaluation


def in_order(plan: Plan) -> list[EpisodeResult]:
    """The results so far in the plan's order, whoever finished first."""
    number = {key: index for index, key in enumerate(plan.config.episodes)}
    return sorted(read_results(plan.output / resume.RESULTS), key=lambda result: number[result.key])


def default_workers(config: SimConfig) -> int:
    """Two cores each; in real time one, for the policy's latency is part of the measurement."""
    if config.mode == "real_time":
        return 1
    return max(1, len(os.sched_getaffinity(0)) // CORES_A_WORKER)


def local(workers: int, bridge: str = "") -> Runner:
    """On this machine, in so many groups of processes at most; with another program than sim_bridge, if it is named.

    Raises:
        ConfigError: fewer than one.
    """
    check_workers(workers)

    def run(plan: Plan, episodes: Sequence[EpisodeKey], watch: Watch, lock: int) -> str:
        with ExitStack() as stack:
            group = [
                _worker(plan, share, number, stack.enter_context(reserved_domain()), workers > 1, bridge)
                for number, share in enumerate(shares(episodes, workers), _first_number(plan.output))
            ]
            failure = supervise(group, plan.output, watch, lock)
        return failure or wrong_bundle(group, plan.provenance.bundle_sha256)

    return run


def check_workers(workers: int) -> None:
    """Raises ConfigError where there is nobody to do the work."""
    if workers < 1:
        raise ConfigError(f"--workers: expected >= 1, got {workers}")


def shares(episodes: Sequence[EpisodeKey], workers: int) -> list[Sequence[EpisodeKey]]:
    """Every n-th episode to each of n workers, so that easy and hard tasks are spread evenly."""
    n = min(workers, len(episodes))
    return [episodes[first::n] for first in range(n)]


def _first_number(output: Path) -> int:
    """Workers of a continued evaluation have folders of their own: what the former ones wrote is kept."""
    folder = output / "workers"
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return max(numbers, default=-1) + 1


def _worker(
    plan: Plan, share: Sequence[EpisodeKey], number: int, domain: int, is_one_of_many: bool, bridge: str
) -> Worker:
    folder = plan.output / "workers" / str(number)
    environment = child_environment(domain, folder)
    if is_one_of_many:
        # a software renderer starts a thread per core in every process: they would fight over the cores
        environment.setdefault("LP_NUM_THREADS", "1")
    return Worker(
        name=str(number),
        episodes=share,
        commands=node_commands(plan.config, plan.output, folder, bridge),
        environment=environment,
        output=plan.output,
        answer_timeout_s=plan.config.answer_timeout_s,
        hold_s=plan.chunk_timeout_s + HOLD_MARGIN_S,
    )


def supervise(workers: Sequence[Worker], output: Path, watch: Watch, lock: int) -> str:
    """Start the workers and watch them until all are done; returns why they were broken off, or an empty string.

    When policy_node dies within an episode, the rest goes on for a while, until the gate holds the robot and the bridge
    has recorded that. All processes have ended when this returns or raises.
    """
    with Processes(output / "workers", inherited=(lock,)) as processes:
        for worker in workers:
            worker.start(processes)
        file = ResultFile(output / resume.RESULTS)
        running = list(workers)
        while True:
            exited = processes.exited()  # before the results: what a process wrote before it ended is then there
            results = file.read()
            failures = [worker.poll(processes, exited, results) for worker in running]
            watch(file.read(), [worker.current for worker in running])
            for worker in running:
                if worker.is_finished:
                    worker.stop(processes)
            running = [worker for worker in running if not worker.is_finished]
            failure = next(filter(None, failures), "")
            if failure or not running:
                return failure
            time.sleep(POLL_S)


def wrong_bundle(workers: Sequence[Worker], sha256: str) -> str:
    """What is wrong unless each policy_node itself reported the planned bundle: no figures go to another policy."""
    for worker in workers:
        log = worker.folder / f"{POLICY_NODE}.log"
        found = re.findall(r"bundle sha256 ([0-9a-f]{64})", log.read_text(encoding="utf-8", errors="replace"))
        if set(found) != {sha256}:
            got = ", ".join(found) or "no report of it"
            return f"policy_node: expected bundle sha256 {sha256}, got {got} (log: {log})"
    return ""


def gate_counts(output: Path) -> dict[str, int]:
    """What the gates counted, all workers together; of one that was killed nothing is known."""
    total: Counter[str] = Counter()
    for path in (output / "workers").glob("*/gate.json"):
        total.update(json.loads(path.read_text(encoding="utf-8")))
    total.pop("epoch", None)
    return dict(total)
