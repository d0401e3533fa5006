"""Whether SimplerEnv can run in this environment; a test file skips, with the reason, where it cannot."""

import pytest


def require_simpler() -> None:
    """Skip the whole module that calls this."""
    pytest.importorskip("mani_skill", exc_type=ImportError)
    from vla_ros.errors import SimulatorError
    from vla_ros.sim.simpler_install import load_tasks

    try:
        load_tasks()
    except SimulatorError as error:
        pytest.skip(str(error), allow_module_level=True)
