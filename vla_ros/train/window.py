"""Training figures since the last validation."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Window:
    """Sums, so that a checkpoint between two validations can take them along.

    Attributes:
        count: updates in it.
        sums: of each figure over these updates.
    """

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, figures: Mapping[str, float]) -> None:
        """Take one update in."""
        self.count += 1
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Of each figure over the updates."""
        return {name: value / self.count for name, value in self.sums.items()}
