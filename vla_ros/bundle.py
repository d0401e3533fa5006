"""A policy bundle: one folder with everything that a robot needs to run a policy, hashed file by file.

    policy.yaml       the contract                     statistics.json   of the training actions
    policy.onnx       the graph and its weights        golden.npz        one observation and its actions
    tokenizer.json    the text tokenizer               MODEL_CARD.md     how trained, what measured
    manifest.json     size and sha256 of every other file, precision, versions, error against torch; its own sha256

Nothing is parsed before its hash is checked: single flipped bits in a weight file load silently otherwise.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros import config
from vla_ros.contract import PolicyContract
from vla_ros.errors import BundleError, ConfigError
from vla_ros.processing.normalization import Statistics

FORMAT = 1
MANIFEST = "manifest.json"
REQUIRED_FILES = (
    "policy.yaml",
    "policy.onnx",
    "tokenizer.json",
    "statistics.json",
    "golden.npz",
    "MODEL_CARD.md",
)
MAX_FILE_BYTES = 2 * 1024**3
MAX_MANIFEST_BYTES = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """Size [bytes] and sha256 of one file of the bundle."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `manifest.json` says.

    Attributes:
        format: version of this layout.
        files: every file but the manifest itself.
        precision: of the graph.
        max_action_error: against torch on the golden observation, per action dimension, SI units.
        tool_versions: of what made the bundle.
        sha256: of everything above, as canonical JSON (sorted keys, no spaces).
    """

    format: int
    files: dict[str, FileEntry]
    precision: str
    max_action_error: dict[str, float]
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
            read_verified(path, name, manifest)
        return cls(
            path=path,
            contract=_parse_contract(path, contents),
            statistics=Statistics.from_json(_decode(path, "statistics.json", contents), str(path / "statistics.json")),
            manifest=manifest,
            sha256=hashlib.sha256(text).hexdigest(),
        )

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
    entry = manifest.files[name]
    data = _read_plain_file(path / name, MAX_FILE_BYTES)
    if len(data) != entry.size:
        raise BundleError(f"{path / name}: size: expected {entry.size} bytes, got {len(data)}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise BundleError(f"{path / name}: sha256: expected {entry.sha256}, got {digest}; copy the bundle again")
    return data


def _read_plain_file(path: Path, limit: int) -> bytes:
    """Bytes of a regular file with a single name: no link can lead out of the bundle, no pipe can block."""
    try:
        status = path.lstat()
    except OSError as error:
        raise BundleError(f"{path}: expected a file, got {error.strerror}") from error
    if path.is_symlink() or not path.is_file() or status.st_nlink != 1:
        raise BundleError(f"{path}: expected a regular file with one name, got a link or a special file")
    if status.st_size > limit:
        raise BundleError(f"{path}: size: expected at most {limit} bytes, got {status.st_size}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: expected a readable file, got {error.strerror}") from error


def parse_manifest(path: Path, text: bytes) -> Manifest:
    """Read the bytes of `manifest.json`; `path` names them in errors.

    Raises:
        BundleError: they are not, to the bit, what `seal` writes.
    """
    try:
        content = json.loads(text)
        manifest = config.build(content, Manifest, str(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: expected JSON, got: {error}") from error
    except ConfigError as error:
        raise BundleError(str(error)) from error
    if manifest.format != FORMAT:
        raise BundleError(f"{path}: format: expected {FORMAT}, got {manifest.format}; export the policy again")
    whole = manifest_bytes(content)
    digest = json.loads(whole)["sha256"]
    if manifest.sha256 != digest:
        raise BundleError(f"{path}: sha256: expected {digest}, got {manifest.sha256}; copy the bundle again")
    if text != whole:  # 1e-08 and 1E-08 are a bit apart, and the same number
        raise BundleError(f"{path}: expected the text that `vla-ros export` writes, got another spelling of it")
    return manifest


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


def seal(path: Path, precision: str, max_action_error: dict[str, float], tool_versions: dict[str, str]) -> None:
    """Write the manifest of a folder whose other files are complete; replaces it atomically.

    Raises:
        BundleError: a required file is missing.
    """
    files: dict[str, Any] = {}
    for name in REQUIRED_FILES:
        data = _read_plain_file(path / name, MAX_FILE_BYTES)
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {
        "format": FORMAT,
        "files": files,
        "precision": precision,
        "max_action_error": max_action_error,
        "tool_versions": tool_versions,
    }
    temporary = path / f".{MANIFEST}.partial"
    temporary.write_bytes(manifest_bytes(manifest))
    os.replace(temporary, path / MANIFEST)
