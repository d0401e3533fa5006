"""Whether SimplerEnv can run here: `NEEDS_SIMPLER` skips its tests, with the reason, where it cannot."""

import importlib.util

import pytest

from vla_ros.sim.simpler_install import asset_folder, missing_assets


def _reason() -> str:
    if importlib.util.find_spec("mani_skill") is None:
        return "needs ManiSkill: `make setup-simpler`"
    missing = missing_assets()
    return f"needs ManiSkill's assets {', '.join(missing)} in {asset_folder()}: `make setup-simpler`" if missing else ""


REASON = _reason()
NEEDS_SIMPLER = [pytest.mark.simpler, pytest.mark.skipif(bool(REASON), reason=REASON)]
