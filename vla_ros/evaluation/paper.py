"""The paper's own results, beside which a report prints what was measured."""

from dataclasses import dataclass
from pathlib import Path

from vla_ros import config
from vla_ros.node.environment import shared_file

RESULTS = Path("docs/paper_results.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One column of the paper's headline table.

    Attributes:
        name: the paper's.
        simulator, suites: what it is here.
        metric, unit: what its numbers say.
        protocol: how the paper measured it.
        episodes: of which each number is the result.
    """

    name: str
    simulator: str
    suites: tuple[str, ...]
    metric: str
    unit: str
    protocol: str
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One benchmark's results.

    Attributes:
        source: the paper.
        benchmark: which.
        rows: policy and value, as printed.
    """

    source: str
    benchmark: Benchmark
    rows: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    source: str
    benchmarks: tuple[Benchmark, ...]
    rows: tuple[dict[str, str | float], ...]


def paper_table(simulator: str, suite: str) -> PaperTable | None:
    """What the paper reports for a suite, or None: it was not evaluated on that.

    Raises:
        ConfigError: the shipped file is missing or wrong.
    """
    content = config.load(shared_file(RESULTS), _File)
    for benchmark in content.benchmarks:
        if benchmark.simulator == simulator and suite in benchmark.suites:
            rows = tuple(
                (str(row["policy"]), float(row[benchmark.name])) for row in content.rows if benchmark.name in row
            )
            return PaperTable(source=content.source, benchmark=benchmark, rows=rows)
    return None
