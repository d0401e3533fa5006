"""Write constraints.txt: the exact version of every package, direct or not, for each Python that is supported.

    python3 requirements/lock.py python3.10 python3.11 python3.12

All environments are resolved together, so that one package has one version everywhere; where the interpreters
need different versions, a marker says so. torch and its CUDA libraries are left out: which build of torch
is right depends on the machine, and each build names its own libraries exactly.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = ("runtime.txt", "libero.txt", "calvin.txt", "simpler.txt", "dev.txt")
LEFT_OUT = ("torch", "triton", "nvidia-", "cuda-")


def resolve(python: str) -> dict[str, str]:
    """Name to version of all that pip would install with this interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder, "venv")
        subprocess.run([python, "-m", "venv", venv], check=True)
        pip = [venv / "bin/pip", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)  # --report needs a newer pip than Debian 12's
        report = Path(folder, "report.json")
        files = [argument for name in REQUIREMENTS for argument in ("-r", HERE / name)]
        subprocess.run([*pip, "--dry-run", "--ignore-installed", "--report", report, *files], check=True)
        items = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    names = {item["name"].lower().replace("_", "-"): item["version"] for item in items}
    return {name: version for name, version in names.items() if not name.startswith(LEFT_OUT)}


def main(pythons: list[str]) -> None:
    """Resolve with each interpreter and merge."""
    version_of = "import sys; print('%d.%d' % sys.version_info[:2])"
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for python in pythons:
        minor = subprocess.run([python, "-c", version_of], check=True, capture_output=True, text=True).stdout.strip()
        print(f"resolving for Python {minor} ...", flush=True)
        for name, version in resolve(python).items():
            found[name][version].append(minor)
    lines = ["# Written by requirements/lock.py from the other files here; do not edit."]
    for name in sorted(found):
        for version, minors in found[name].items():
            everywhere = len(minors) == len(pythons)
            marker = " or ".join(f'python_version == "{minor}"' for minor in minors)
            lines.append(f"{name}=={version}" + ("" if everywhere else f"; {marker}"))
    (HERE / "constraints.txt").write_text("\n".join(lines) + "\n")
    print(f"{HERE / 'constraints.txt'}: {len(lines) - 1} lines")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
