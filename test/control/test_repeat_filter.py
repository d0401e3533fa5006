"""A fault at 30 Hz is not 30 lines a second."""

from vla_ros.control.repeat_filter import RepeatFilter


def test_a_repeated_fault_is_one_line_in_a_while() -> None:
    now = [0]
    passes = RepeatFilter(lambda: now[0], period_ns=10).passes
    assert [passes("a"), passes("a"), passes("b")] == [True, False, True]
    now[0] = 10
    assert [passes("a"), passes("a")] == [True, False]
