"""CALVIN's tests need the user's checkout of mees/calvin, which `make setup-calvin CALVIN=<checkout>` joins."""

import importlib.util

import pytest

NEEDS_CALVIN = [
    pytest.mark.calvin,
    pytest.mark.skipif(
        importlib.util.find_spec("calvin_env") is None,
        reason="no checkout of mees/calvin in this environment: make setup-calvin CALVIN=<checkout>",
    ),
]
