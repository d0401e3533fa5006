"""A part of an evaluation in a folder of its own, on whichever machine: `python -m vla_ros.evaluation.shard FOLDER`.

The folder holds what the three processes read, and `shard.json`; results and videos are added, and `failure.txt` if it
broke off.
"""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vla_ros import config as yaml_config
from vla_ros.errors import VlaRosError
from vla_ros.evaluation import resume
from vla_ros.evaluation.plan import CONFIG, LATENCY, Plan, Variant, prepare
from vla_ros.evaluation.record import Provenance
from vla_ros.evaluation.runner import local
from vla_ros.sim.episode import EpisodeKey, SimConfig

SHARD, FAILURE = "shard.json", "failure.txt"


def expected_of(provenance: Provenance) -> dict[str, object]:
    """What has to be the same on every machine, for the parts to be parts of one evaluation."""
    return {"bundle sha256": provenance.bundle_sha256, **resume.version_facts(provenance)}


def write_shard(
    folder: Path, files: dict[str, str], expected: dict[str, object], episodes: Sequence[EpisodeKey]
) -> None:
    """Make the folder of a part.

    Args:
        folder: to be made.
        files: of the plan: name to text.
        expected: `expected_of` the machine that asks.
        episodes: of the plan.
    """
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    shard = {"expected": expected, "episodes": episodes}
    (folder / SHARD).write_text(json.dumps(shard), encoding="utf-8")


def run_shard(folder: Path) -> str:
    """Run a part; why it broke off, or an empty string.

    Raises:
        VlaRosError: this machine lacks something that the part needs.
    """
    shard = json.loads((folder / SHARD).read_text(encoding="utf-8"))
    plan = _plan(folder)
    here = expected_of(plan.provenance)
    for name, expected in shard["expected"].items():
        if here.get(name) != expected:
            where = f"{plan.provenance.bundle} on {platform.node()}"
            return f"{where}: expected {name} {expected} as on the machine that asks, got {here.get(name)}"
    output = folder / "run"
    with resume.claimed(output) as lock:
        plan = resume.begin(plan)
        episodes = [(task, state) for task, state in shard["episodes"]]
        return local(1)(plan, episodes, lambda results, current: None, lock)


def _plan(folder: Path) -> Plan:
    """The plan that these files came from, with its output here."""
    config = yaml_config.load(folder / CONFIG, SimConfig)
    here = {name: folder / getattr(config, name).name for name in ("policy", "robot")}
    config = replace(config, **here)
    latency = str(folder / LATENCY) if (folder / LATENCY).is_file() else config.latency
    return prepare(config, folder / "run", Variant(latency=latency))


def main(folder: Path) -> int:
    """Run a part and leave word of what went wrong."""
    try:
        failure = run_shard(folder)
    except VlaRosError as error:
        failure = str(error)
    (folder / FAILURE).write_text(failure, encoding="utf-8")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
