"""Spreads the episodes of an evaluation over the machines of a Ray cluster.

Every machine needs this project with its environments and the policy at the same paths; results and videos travel
through Ray's object store. Which cluster: Ray's own rules, RAY_ADDRESS first; without one, Ray runs on this machine.
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
from vla_ros.evaluation.runner import CORES_A_WORKER, Runner, Watch
from vla_ros.evaluation.shard import FAILURE, write_shard
from vla_ros.sim.episode import EpisodeKey, ResultFile, append_result, read_results

REQUIREMENT = "ray>=2.40"
SHARD_PROGRAM = "vla_ros.evaluation.shard"
PARTS_A_WORKER = 4
"""Parts that each worker gets, one after another: less waiting for the last one, but each loads a policy."""


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
        ConfigError: Ray is not installed.
    """
    ray = import_ray()

    def run(plan: Plan, episodes: Sequence[EpisodeKey], watch: Watch, lock: int) -> str:
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        try:
            slots = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // CORES_A_WORKER)
            parts = deal(episodes, slots)
            return _collect(ray, plan, parts, slots, watch)
        finally:
            ray.shutdown()

    return run


def deal(episodes: Sequence[EpisodeKey], slots: int) -> list[Sequence[EpisodeKey]]:
    """Parts of about the same size, hard and easy tasks in each."""
    n = min(len(episodes), slots * PARTS_A_WORKER)
    return [episodes[first::n] for first in range(n)]


def _collect(ray: Any, plan: Plan, parts: list[Sequence[EpisodeKey]], slots: int, watch: Watch) -> str:
    """Hand the parts out, `slots` at a time, and write down what comes back."""
    remote = ray.remote(num_cpus=CORES_A_WORKER, max_retries=0)(run_part)
    arguments = (dict(plan.files), plan.provenance.bundle_sha256, os.getcwd())
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
        lines, videos, failure = ray.get(reference)
    except ray.exceptions.RayError as error:
        return f"ray: {' '.join(str(error).split())}"
    for name, content in videos.items():
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
    files: dict[str, str], bundle_sha256: str, project: str, episodes: list[EpisodeKey]
) -> tuple[str, dict[str, bytes], str]:
    """On any machine of the cluster: lines of `episodes.jsonl`, videos by name, and why it broke off."""
    with tempfile.TemporaryDirectory(prefix="vla_ros-shard-") as scratch:
        folder = Path(scratch) / "shard"
        write_shard(folder, files, bundle_sha256, episodes)
        command = [sys.executable, "-m", SHARD_PROGRAM, str(folder)]
        ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        path = folder / FAILURE
        last = (ended.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        failure = path.read_text(encoding="utf-8") if path.exists() else f"shard: exit code {ended.returncode}: {last}"
        results = folder / "run" / resume.RESULTS
        videos = {video.name: video.read_bytes() for video in (folder / "run").glob("*.mp4")}
        return results.read_text(encoding="utf-8") if results.exists() else "", videos, failure
