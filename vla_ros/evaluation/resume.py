"""An output folder: made once, written by one evaluation at a time, and continued only by an equal one."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from vla_ros.errors import ConfigError
from vla_ros.evaluation.plan import CONFIG, LATENCY, POLICY, ROBOT, Plan
from vla_ros.evaluation.record import Provenance
from vla_ros.sim.episode import EpisodeKey, EpisodeResult, read_results

RESULTS, BROKEN, PROVENANCE = "episodes.jsonl", "episodes.broken.jsonl", "provenance.json"
SELECTION = "selection"
"""Folder of the candidates that were chosen among before the evaluation."""
BROKEN_OUTCOMES = ("held", "no_command")
"""Episodes that break a run off, and are run anew when it is continued."""

FREE = {
    CONFIG: ("policy", "robot", "python", "answer_timeout_s"),
    POLICY: ("bundle", "inference_timeout_s", "trace"),
    ROBOT: ("trace",),
}
"""What says where something lies or how long it is waited for: it decides over no result, and may change."""

CLAIM_S = 10.0
"""How long the processes of a killed evaluation may take to end [s]."""


@contextmanager
def claimed(output: Path) -> Iterator[int]:
    """The folder, for this process and those that inherit the yielded file descriptor, as long as one of them lives.

    Raises:
        ConfigError: another evaluation has it, or it is no folder.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{output}: expected a folder that can be written, got: {error.strerror}") from error
    with (output / ".lock").open("w") as lock:
        deadline = time.monotonic() + CLAIM_S
        while not _is_locked(lock.fileno()):
            if time.monotonic() > deadline:
                raise ConfigError(f"{output}: expected a folder that no other evaluation writes to, got one in use")
            time.sleep(0.1)
        yield lock.fileno()


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def begin(plan: Plan) -> Plan:
    """Write the plan's files, or go on with what an equal plan left; the plan with the time of its first start.

    Raises:
        ConfigError: the folder holds something else, or results of a plan that differs: in what.
    """
    output = plan.output
    others = [path.name for path in output.iterdir() if path.name not in (".lock", SELECTION)]
    if others and PROVENANCE not in others:
        raise ConfigError(f"{output}: expected a new or empty folder or an evaluation's, got one with {min(others)}")
    if RESULTS in others:
        earlier = read_provenance(output)
        differing = differences(earlier, plan.provenance)
        if differing:
            name, before, now = differing[0]
            more = f" (and {', '.join(name for name, _, _ in differing[1:])})" if len(differing) > 1 else ""
            raise ConfigError(
                f"{output}: {name}: expected {before} as in its results, got {now}{more}; name a new folder"
            )
        plan = replace(plan, provenance=replace(plan.provenance, started=earlier.started))
    for name, text in plan.files.items():
        (output / name).write_text(text, encoding="utf-8")
    write_whole(output / PROVENANCE, json.dumps(asdict(plan.provenance), indent=2) + "\n")
    return plan


def read_provenance(output: Path) -> Provenance:
    """What an evaluation's folder was made with.

    Raises:
        ConfigError: it is no such folder.
    """
    try:
        return Provenance(**json.loads((output / PROVENANCE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{output / PROVENANCE}: expected an evaluation's provenance, got: {error}") from error


def differences(before: Provenance, now: Provenance) -> list[tuple[str, object, object]]:
    """What makes two evaluations unequal: its name, and the value in both."""
    first, second = _facts(before), _facts(now)
    return [
        (name, first.get(name, "nothing"), second.get(name, "nothing"))
        for name in dict.fromkeys((*first, *second))
        if first.get(name, "nothing") != second.get(name, "nothing")
    ]


def _facts(provenance: Provenance) -> dict[str, object]:
    facts: dict[str, object] = {"bundle_sha256": provenance.bundle_sha256}
    for name, text in provenance.configs.items():
        content = yaml.safe_load(text) if name.endswith(".yaml") else {"content": text}
        free = FREE.get(name, ())
        if name == CONFIG and LATENCY in provenance.configs:  # then the numbers are there, and here only their path is
            free += ("latency",)
        facts |= {f"{name}: {key}": value for key, value in _flat(content).items() if key not in free}
    return facts | version_facts(provenance) | {"processor": provenance.machine.get("processor")}


def version_facts(provenance: Provenance) -> dict[str, object]:
    """Of everything that episodes are run with."""
    return {f"version of {name}": version for name, version in provenance.versions.items()}


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """ROS parameter files keep their values two levels down; a node's name is the same in all."""
    for value in content.values():
        if isinstance(value, dict) and "ros__parameters" in value:
            return dict(value["ros__parameters"])
    return content


def remaining(plan: Plan) -> tuple[EpisodeKey, ...]:
    """The plan's episodes that have no result yet, in order; those that broke the run off are among them.

    Raises:
        ConfigError: an episode has two results.
    """
    _set_broken_aside(plan.output)
    done: set[EpisodeKey] = set()
    for result in read_results(plan.output / RESULTS):
        if result.key in done:
            raise ConfigError(f"{plan.output / RESULTS}: expected one result an episode, got two of {result.key}")
        done.add(result.key)
    return tuple(key for key in plan.config.episodes if key not in done)


def _set_broken_aside(output: Path) -> None:
    path = output / RESULTS
    results = list(read_results(path))
    broken = [result for result in results if result.outcome in BROKEN_OUTCOMES]
    if not broken:
        return
    with (output / BROKEN).open("a", encoding="utf-8") as file:
        file.writelines(_line(result) for result in broken)
    write_whole(path, "".join(_line(result) for result in results if result.outcome not in BROKEN_OUTCOMES))


def _line(result: EpisodeResult) -> str:
    return json.dumps(asdict(result)) + "\n"


def write_whole(path: Path, text: str) -> None:
    """Replace a file: whatever happens, it is the old one or the new one."""
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
