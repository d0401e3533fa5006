"""The gate's invariants over a million random ticks of random robots (hazards: nothing stale, twice or not finite)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test.control.adversary import attack

ATTACKS, TICKS = 500, 2000
assert ATTACKS * TICKS >= 10**6


def test_over_ten_thousand_ticks_every_invariant_holds_whatever_arrives() -> None:
    """The same in seconds: what `make mutants` can afford for each mutant."""
    assert sum(attack(seed, 250) for seed in range(40)) > 0.1 * 40 * 250


@pytest.mark.slow
def test_over_a_million_ticks_every_invariant_holds_whatever_arrives() -> None:
    moves = []

    @settings(
        max_examples=ATTACKS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.integers(0, 2**63))
    def attacks(seed: int) -> None:
        moves.append(attack(seed, TICKS))

    attacks()
    assert len(moves) >= ATTACKS
    assert sum(moves) > 0.1 * ATTACKS * TICKS  # an arm that never moves would hold them all
