"""Calling into simulators that print and log what nobody needs to read."""

import contextlib
import ctypes
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def quietly(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call without chatter: nothing printed, no warnings; errors pass."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)
    finally:
        logging.disable(previous)


def silently(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """As `quietly`, and without what C libraries print past Python; nothing in this process can print meanwhile."""
    libc = ctypes.CDLL(None)
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    for stream in streams:
        stream.flush()
    libc.fflush(None)
    kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        return quietly(function, *args, **kwargs)
    finally:
        for stream in streams:
            stream.flush()
        libc.fflush(None)  # what is still in C's buffers would appear later
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
