"""Demonstrations that the tests of this folder share; read only."""

from pathlib import Path

import pytest

from test.tiny_policy import write_demonstrations


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demonstrations(tmp_path_factory.mktemp("demonstrations"))
