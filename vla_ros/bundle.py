"""A policy bundle: one folder with everything that a robot needs to run a policy, hashed file by file.

    policy.yaml       the contract                     statistics.json   of the training actions
    policy.onnx       the graph                        golden.npz        one observation and torch's actions
    policy.onnx.data  its weights                      MODEL_CARD.md     how trained, what measured
    embeddings.npy    of every word, and ActionQuery   parity.html       how far the graph is from torch
    tokenizer.json    the text tokenizer
    manifest.json     size and sha256 of every other file, precision, versions, error against torch; its own sha256

Nothing is parsed before its hash is checked: single flipped bits in a weight file load silently otherwise.
"""

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from vla_ros import config
from vla_ros.contract import PolicyContract
from vla_ros.errors import BundleError, ConfigError
from vla_ros.processing.normalization import Statistics

FORMAT = 2
MANIFEST = "manifest.json"
GRAPH, WEIGHTS, EMBEDDINGS = "policy.onnx", "policy.onnx.data", "embeddings.npy"
MIB, GIB = 1024**2, 1024**3
MAX_BYTES = {
    "policy.yaml": MIB,
    GRAPH: 64 * MIB,
    WEIGHTS: 256 * GIB,
    EMBEDDINGS: 8 * GIB,
    "tokenizer.json": 64 * MIB,
    "statistics.json": MIB,
    "golden.npz": 64 * MIB,
    "MODEL_CARD.md": MIB,
    "parity.html": 4 * MIB,
}
"""What a bundle consists of, and how large each file may be; the largest backbone has 61 GB of bf16 weights."""
REQUIRED_FILES = tuple(MAX_BYTES)
MAX_MANIFEST_BYTES = MIB
CHUNK_BYTES = 16 * MIB

Precision = Literal["fp32", "fp16", "bf16", "int8", "int4", "fp8"]
Compute = Literal["fp32", "fp16", "bf16"]
TOLERATED = {"position_mm", "rotation_deg", "gripper_flips"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """Size [bytes] and sha256 of one file of the bundle."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInfo:
    """How the graph was made, and how far it is from the policy that was trained.

    Attributes:
        precision: of the weights.
        compute: of everything that is not quantised.
        buckets: the lengths that `text_embeds` may have [tokens], ascending; what is shorter is filled up with zeros.
        kept: linear layers that are not quantised though others are.
        tolerance: what the errors below, and those on the golden observation, were allowed to be: mm, degrees, and the
            share of gripper values that differ.
        parity: the measured errors against torch in fp32 on real frames; see `export.parity.Parity`.
        calibration_frames: real frames on which the ranges of quantised layers were found.
        checkpoint_sha256: of the trained weights.
        peak_memory_gib: of the export.
    """

    precision: Precision
    compute: Compute
    buckets: tuple[int, ...]
    kept: tuple[str, ...]
    tolerance: dict[str, float]
    parity: dict[str, Any]
    checkpoint_sha256: str
    calibration_frames: int
    peak_memory_gib: float

    def __post_init__(self) -> None:
        if not self.buckets or list(self.buckets) != sorted(set(self.buckets)) or self.buckets[0] < 1:
            raise ValueError(f"buckets: expected ascending numbers >= 1, got {self.buckets}")
        if set(self.tolerance) != TOLERATED:
            raise ValueError(f"tolerance: expected {', '.join(sorted(TOLERATED))}, got {', '.join(self.tolerance)}")
        if not all(math.isfinite(value) and value >= 0 for value in self.tolerance.values()):
            raise ValueError(f"tolerance: expected finite numbers >= 0, got {self.tolerance}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `manifest.json` says.

    Attributes:
        format: version of this layout.
        files: every file but the manifest itself.
        graph: what `vla-ros export` decided and measured.
        tool_versions: of what made the bundle.
        sha256: of everything above, as canonical JSON (sorted keys, no spaces).
    """

    format: int
    files: dict[str, FileEntry]
    graph: GraphInfo
    tool_versions: dict[str, str]
    sha256: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified policy folder.

    Attributes:
        path: the folder.
        contract: what the policy expects and emits.
        statistics: the ends of its action units.
        manifest: what the folder holds.
        sha256: of the manifest, and so of everything.
    """

    path: Path
    contract: PolicyContract
    statistics: Statistics
    manifest: Manifest
    sha256: str

    @classmethod
    def open(cls, path: Path) -> "Bundle":
        """Verify a folder, then read its contract and statistics.

        Raises:
            BundleError: a file is missing, foreign, altered, linked or does not belong to the others.
        """
        if not path.is_dir():
            raise BundleError(
                f"{path}: expected a policy bundle's folder, got nothing there; see `vla-ros export --help`"
            )
        text = _read_plain_file(path / MANIFEST, MAX_MANIFEST_BYTES)
        manifest = parse_manifest(path / MANIFEST, text)
        _check_names(path, manifest)
        contents = {name: read_verified(path, name, manifest) for name in ("policy.yaml", "statistics.json")}
        for name in set(manifest.files) - set(contents):
            verify(path, name, manifest)
        return cls(
            path=path,
            contract=_parse_contract(path, contents),
            statistics=Statistics.from_json(_decode(path, "statistics.json", contents), str(path / "statistics.json")),
            manifest=manifest,
            sha256=hashlib.sha256(text).hexdigest(),
        )

    @property
    def embedding_width(self) -> int:
        """Numbers per row of `embeddings`."""
        return int(self.embeddings().shape[1])

    def embeddings(self) -> NDArray[np.floating[Any]]:
        """Rows of all words, then of the ActionQueries, float16 or float32 [words + queries, width]; read when used.

        Raises:
            BundleError: the file is no such table.
        """
        source = self.path / EMBEDDINGS
        try:
            table = np.load(source, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BundleError(f"{source}: expected a NumPy array, got: {error}") from error
        is_table = isinstance(table, np.ndarray) and table.ndim == 2 and table.dtype in (np.float16, np.float32)
        if not is_table or len(table) <= self.contract.action_queries:
            got = f"{table.dtype} {table.shape}" if isinstance(table, np.ndarray) else "an archive of several arrays"
            raise BundleError(f"{source}: expected float16 or float32 [words, width], got {got}")
        return cast("NDArray[np.floating[Any]]", table)

    def read(self, name: str) -> bytes:
        """The bytes of a file, checked again as they are read.

        Raises:
            BundleError: the file changed since the bundle was opened.
        """
        return read_verified(self.path, name, self.manifest)


def read_verified(path: Path, name: str, manifest: Manifest) -> bytes:
    """The bytes of a file whose size and hash are those of the manifest.

    Raises:
        BundleError: they are not.
    """
    data = _read_plain_file(path / name, MAX_BYTES[name])
    _compare(path / name, manifest.files[name], len(data), hashlib.sha256(data).hexdigest())
    return data


def verify(path: Path, name: str, manifest: Manifest) -> None:
    """As `read_verified` for files that need not fit into memory."""
    file = path / name
    _check_plain_file(file, MAX_BYTES[name])
    size, digest = hash_file(file)
    _compare(file, manifest.files[name], size, digest)


def hash_file(path: Path) -> tuple[int, str]:
    """Size [bytes] and sha256 of a file, read piece by piece.

    Raises:
        BundleError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise BundleError(f"{path}: expected a readable file, got {error.strerror}") from error
    return size, digest.hexdigest()


def _compare(file: Path, entry: FileEntry, size: int, digest: str) -> None:
    if size != entry.size:
        raise BundleError(f"{file}: size: expected {entry.size} bytes, got {size}")
    if digest != entry.sha256:
        raise BundleError(f"{file}: sha256: expected {entry.sha256}, got {digest}; copy the bundle again")


def _read_plain_file(path: Path, limit: int) -> bytes:
    _check_plain_file(path, limit)
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: expected a readable file, got {error.strerror}") from error


def _check_plain_file(path: Path, limit: int) -> None:
    """A regular file with a single name: no link can lead out of the bundle, no pipe can block."""
    try:
        status = path.lstat()
    except OSError as error:
        raise BundleError(f"{path}: expected a file, got {error.strerror}") from error
    if path.is_symlink() or not path.is_file() or status.st_nlink != 1:
        raise BundleError(f"{path}: expected a regular file with one name, got a link or a special file")
    if status.st_size > limit:
        raise BundleError(f"{path}: size: expected at most {limit} bytes, got {status.st_size}")


def parse_manifest(path: Path, text: bytes) -> Manifest:
    """Read the bytes of `manifest.json`; `path` names them in errors.

    Raises:
        BundleError: they are not, to the bit, what `seal` writes.
    """
    try:
        content = json.loads(text)
        _check_format(path, content)
        manifest = config.build(content, Manifest, str(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: expected JSON, got: {error}") from error
    except ConfigError as error:
        raise BundleError(str(error)) from error
    whole = manifest_bytes(content)
    digest = json.loads(whole)["sha256"]
    if manifest.sha256 != digest:
        raise BundleError(f"{path}: sha256: expected {digest}, got {manifest.sha256}; copy the bundle again")
    if text != whole:  # 1e-08 and 1E-08 are a bit apart, and the same number
        raise BundleError(f"{path}: expected the text that `vla-ros export` writes, got another spelling of it")
    return manifest


def _check_format(path: Path, content: Any) -> None:
    """Before the fields, as those of another format are others."""
    found = content.get("format") if isinstance(content, dict) else None
    if found is not None and found != FORMAT:
        raise BundleError(f"{path}: format: expected {FORMAT}, got {found}; export the policy again: `vla-ros export`")


def manifest_bytes(content: dict[str, Any]) -> bytes:
    """The one text of a manifest, with its own sha256 made anew."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    sealed = {**rest, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}
    return (json.dumps(sealed, indent=2) + "\n").encode()


def _check_names(path: Path, manifest: Manifest) -> None:
    if set(manifest.files) != set(REQUIRED_FILES):
        raise BundleError(
            f"{path / MANIFEST}: files: expected {', '.join(sorted(REQUIRED_FILES))}, "
            f"got {', '.join(sorted(manifest.files))}"
        )
    foreign = sorted({entry.name for entry in path.iterdir()} - set(REQUIRED_FILES) - {MANIFEST})
    if foreign:
        raise BundleError(f"{path}: files: expected only those of {MANIFEST}, got also {', '.join(foreign)}")


def _decode(path: Path, name: str, contents: dict[str, bytes]) -> str:
    try:
        return contents[name].decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path / name}: expected UTF-8 text, got {error.reason}") from error


def _parse_contract(path: Path, contents: dict[str, bytes]) -> PolicyContract:
    source = str(path / "policy.yaml")
    try:
        contract = config.loads(_decode(path, "policy.yaml", contents), PolicyContract, source)
    except ConfigError as error:
        raise BundleError(str(error)) from error
    digest = hashlib.sha256(contents["statistics.json"]).hexdigest()
    if contract.statistics_sha256 != digest:
        raise BundleError(
            f"{source}: statistics_sha256: expected {digest} of statistics.json, got {contract.statistics_sha256}"
        )
    return contract


def seal(path: Path, graph: GraphInfo, tool_versions: dict[str, str]) -> None:
    """Write the manifest of a folder whose other files are complete; replaces it atomically.

    Raises:
        BundleError: a required file is missing.
    """
    files: dict[str, Any] = {}
    for name in REQUIRED_FILES:
        _check_plain_file(path / name, MAX_BYTES[name])
        size, digest = hash_file(path / name)
        files[name] = {"size": size, "sha256": digest}
    manifest = {"format": FORMAT, "files": files, "graph": asdict(graph), "tool_versions": tool_versions}
    temporary = path / f".{MANIFEST}.partial"
    temporary.write_bytes(manifest_bytes(manifest))
    os.replace(temporary, path / MANIFEST)
