"""Spreads the episodes of an evaluation over the machines of a Ray cluster.

Every machine needs this project with its environments and the policy at the same paths, in the same versions; results,
videos and the gate's counts travel through Ray's object store, part by part. Which cluster: Ray's own rules,
RAY_ADDRESS first; without one, Ray runs on this machine.
"""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_ros.errors import ConfigError
from vla_ros.evaluation import resume
from vla_ros.evaluation.plan import Plan
from vla_ros.evaluation.runner import CORES_A_WORKER, Runner, Watch, check_workers
from vla_ros.evaluation.shard import FAILURE, expected_of, write_shard
from vla_ros.sim.episode import EpisodeKey, ResultFile, append_result, read_results

REQUIREMENT = "ray>=2.40"
SHARD_PROGRAM = "vla_ros.evaluation.shard"
PARTS_A_WORKER = 4
"""At least so many parts for each worker, one after another: less waiting for the last one."""
MAX_EPISODES = 20
"""A part has no more, for it is what a machine that dies takes with it; each loads the policy anew."""


def import_ray() -> Any:
    """The library, which is optional.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--ray: expected the package ray, got none; {sys.executable} -m pip install '{REQUIREMENT}'"
        ) from error


def on_ray(workers: int | None) -> Runner:
    """On a cluster, in so many groups of processes at most; None: as many as have two cores each.

    Raises:
        ConfigError: Ray is not installed, or fewer than one.
    """
    if workers is not None:
        check_workers(workers)
    ray = import_ray()

    def run(plan: Plan, episodes: Sequence[EpisodeKey], watch: Watch, lock: int) -> str:
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        try:
            slots = workers or _slots(plan, int(ray.cluster_resources().get("CPU", 1)))
            parts = deal(episodes, slots)
            return _collect(ray, plan, parts, slots, watch)
        finally:
            ray.shutdown()

    return run


def _slots(plan: Plan, cores: int) -> int:
    """In real time one group at a time, as on one machine: the policy's latency is part of the measurement."""
    return 1 if plan.config.mode == "real_time" else max(1, cores // CORES_A_WORKER)


def deal(episodes: Sequence[EpisodeKey], slots: int) -> list[Sequence[EpisodeKey]]:
    """Parts of about the same size, hard and easy tasks in each."""
    n = min(len(episodes), max(slots * PARTS_A_WORKER, -(-len(episodes) // MAX_EPISODES)))
    return [episodes[first::n] for first in range(n)]


def _collect(ray: Any, plan: Plan, parts: list[Sequence[EpisodeKey]], slots: int, watch: Watch) -> str:
    """Hand the parts out, `slots` at a time, and write down what comes back."""
    remote = ray.remote(num_cpus=CORES_A_WORKER, max_retries=0)(run_part)
    arguments = (dict(plan.files), expected_of(plan.provenance), os.getcwd())
    waiting, running = list(parts), list[Any]()
    results = ResultFile(plan.output / resume.RESULTS)
    failure = ""
    while running or (waiting and not failure):
        while waiting and len(running) < slots and not failure:
            running.append(remote.remote(*arguments, list(waiting.pop(0))))
        finished, running = ray.wait(running, num_returns=1)
        for reference in finished:
            failure = _take(ray, plan, reference) or failure
        watch(results.read(), [])
    return failure


def _take(ray: Any, plan: Plan, reference: Any) -> str:
    """Write down what one part gave; why it broke off."""
    try:
        lines, files, failure = ray.get(reference)
    except ray.exceptions.RayError as error:
        return f"ray: {' '.join(str(error).split())}"
    for name, content in files.items():
        (plan.output / name).parent.mkdir(parents=True, exist_ok=True)
        (plan.output / name).write_bytes(content)
    done = {result.key for result in read_results(plan.output / resume.RESULTS)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / resume.RESULTS
        path.write_text(lines, encoding="utf-8")
        for result in read_results(path):
            if result.key not in done:
                append_result(plan.output / resume.RESULTS, result)
    return str(failure)


def run_part(
    files: dict[str, str], expected: dict[str, object], project: str, episodes: list[EpisodeKey]
) -> tuple[str, dict[str, bytes], str]:
    """On any machine of the cluster: lines of `episodes.jsonl`, further files by name, and why it broke off."""
    with tempfile.TemporaryDirectory(prefix="vla_ros-shard-") as scratch:
        folder = Path(scratch) / "shard"
        write_shard(folder, files, expected, episodes)
        command = [sys.executable, "-m", SHARD_PROGRAM, str(folder)]
        ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        path = folder / FAILURE
        last = (ended.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        failure = path.read_text(encoding="utf-8") if path.exists() else f"shard: exit code {ended.returncode}: {last}"
        output = folder / "run"
        results = output / resume.RESULTS
        brought = {video.name: video.read_bytes() for video in output.glob("*.mp4")}
        # of each worker, under a name that no other part has: what the gate counted, and the logs
        task, state = episodes[0]
        brought |= {
            f"workers/part-{task}-{state}/{path.name}": path.read_bytes()
            for path in (output / "workers" / "0").glob("*")
            if path.is_file()
        }
        return results.read_text(encoding="utf-8") if results.exists() else "", brought, failure
