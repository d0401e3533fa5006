"""The user's checkout of mees/calvin: which one this environment uses, and whether it is whole.

CALVIN is not on PyPI. As a program, what `make setup-calvin CALVIN=<checkout>` begins and ends with: it writes the
checkout's two packages into this virtual environment's path, as `pip install --editable` would, but without a file of
ours in it.
"""

import hashlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from pathlib import Path

from vla_ros.errors import SimulatorError

PACKAGES = ("calvin_env", "calvin_models")
"""Folders of the checkout that hold importable packages: calvin_env and calvin_agent."""

NEEDED = (
    "calvin_models/calvin_agent/evaluation/multistep_sequences.py",
    "calvin_models/conf/callbacks/rollout/tasks/new_playtable_tasks.yaml",
    "calvin_models/conf/annotations/new_playtable_validation.yaml",
    "calvin_env/calvin_env/envs/play_table_env.py",
    "calvin_env/conf/scene/calvin_scene_D_eval.yaml",
    "calvin_env/data/calvin_table_D/urdf/calvin_table_D.urdf",
)
DECIDING = (
    "calvin_env/calvin_env",
    "calvin_env/conf",
    "calvin_env/data",
    "calvin_models/conf",
    "calvin_models/calvin_agent",
)
"""What decides over results: code, configuration, meshes and textures."""

CLONE = "git clone --recurse-submodules https://github.com/mees/calvin"
SETUP = "make setup-calvin CALVIN=<checkout of mees/calvin>"
DISTRIBUTION = "calvin-checkout"
"""Under this name the checkout's version is to be found by importlib.metadata."""


def find_checkout() -> Path:
    """The checkout that this environment uses.

    Raises:
        SimulatorError: there is none, or it is no longer whole.
    """
    spec = importlib.util.find_spec("calvin_env")
    if spec is None or spec.origin is None:
        raise SimulatorError(f"calvin: expected a checkout of mees/calvin in this environment, got none; run `{SETUP}`")
    return check_checkout(Path(spec.origin).parents[2])


def check_checkout(path: Path) -> Path:
    """The path again, absolute, if it is a whole checkout.

    Raises:
        SimulatorError: names what is missing, and the command that mends it.
    """
    path = path.absolute()
    missing = [name for name in NEEDED if not (path / name).is_file()]
    if not missing:
        return path
    if len(missing) == len(NEEDED):
        raise SimulatorError(f"{path}: expected a checkout of mees/calvin, got none; `{CLONE}` makes one")
    if all(name.startswith("calvin_env/") for name in missing):
        mend = f"git -C {path} submodule update --init"
        raise SimulatorError(f"{path}/calvin_env: expected mees/calvin's submodule, got none; run `{mend}`")
    raise SimulatorError(f"{path}: expected {missing[0]} in a checkout of mees/calvin, got none; `{CLONE}` makes one")


def join_checkout(path: Path) -> str:
    """Let this virtual environment import from the checkout, instead of one joined before; returns its version.

    Raises:
        SimulatorError: this is no virtual environment.
    """
    if sys.prefix == sys.base_prefix:
        raise SimulatorError(f"{sys.executable}: expected a virtual environment's Python, got another; run `{SETUP}`")
    version = _version(path)
    site = Path(sysconfig.get_path("purelib"))
    metadata = site / f"{DISTRIBUTION.replace('-', '_')}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n")
    lines = "".join(f"{path / package}\n" for package in PACKAGES)
    (site / "calvin_checkout.pth").write_text(lines, encoding="utf-8")
    return version


def check_unchanged(path: Path) -> None:
    """A checkout is the one whose version results carry: that of when it was joined.

    Raises:
        SimulatorError: it has changed since.
    """
    joined, now = importlib.metadata.version(DISTRIBUTION), _version(path)
    if joined != now:
        raise SimulatorError(
            f"{path}: expected version {joined} as set up, got {now}; run `make setup-calvin CALVIN={path}`"
        )


def _version(path: Path) -> str:
    return f"0+{checkout_sha256(path)[:16]}"


def checkout_sha256(path: Path) -> str:
    """Of the names and contents of all files that decide over results."""
    digest = hashlib.sha256()
    files = (file for folder in DECIDING for file in sorted((path / folder).rglob("*")))
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(path).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def main(arguments: list[str]) -> None:
    """`check PATH` only looks, with any Python; `join PATH` joins it to this one and has its chains generated.

    Raises:
        SimulatorError: it is not whole.
    """
    verb, folder = arguments
    checkout = check_checkout(Path(folder))
    if verb == "check":
        return
    from vla_ros.sim.calvin_chains import generate_chains

    version = join_checkout(checkout)
    for package in PACKAGES:  # the path file is only read at the start of an interpreter
        sys.path.insert(0, str(checkout / package))
    generate_chains()
    print(f"vla_ros: CALVIN {version} from {checkout}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SimulatorError as error:
        sys.exit(f"vla_ros: {error}")
