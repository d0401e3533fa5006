"""The package as pip and ament see it: what the metadata promises is in the wheel."""

import ast
import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

import vla_ros

ROOT = Path(__file__).resolve().parents[1]
PACKAGE_XML = ElementTree.parse(ROOT / "package.xml").getroot()
EXECUTABLES = {"policy_node", "command_gate", "sim_bridge"}
LEFT_BEHIND = {".git", ".venv", "data", "runs", "build", "models", "__pycache__"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, with a stand-in for the large bundles, by the build tools of this environment."""
    copy = tmp_path_factory.mktemp("source")
    for path in ROOT.iterdir():
        if path.name not in LEFT_BEHIND and not path.name.endswith(".egg-info"):
            subprocess.run(["cp", "-r", path, copy / path.name], check=True)
    (copy / "models/tiny").mkdir(parents=True)
    (copy / "models/tiny/policy.yaml").write_text("name: tiny\n")
    output = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        output,
        copy,
    ]
    subprocess.run(command, check=True)
    return zipfile.ZipFile(next(output.glob("vla_ros-*.whl")))


def data_files(wheel: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Path below the prefix to entry."""
    prefix = f"vla_ros-{vla_ros.__version__}.data/data/"
    return {info.filename.removeprefix(prefix): info for info in wheel.infolist() if info.filename.startswith(prefix)}


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"vla_ros-{vla_ros.__version__}.dist-info/{name}").decode()


def test_there_is_one_version() -> None:
    assert PACKAGE_XML.findtext("version") == vla_ros.__version__


def test_the_wheel_has_the_version_and_name_of_package_xml(wheel: zipfile.ZipFile) -> None:
    assert f"\nName: {PACKAGE_XML.findtext('name')}\nVersion: {vla_ros.__version__}\n" in metadata(wheel, "METADATA")


def test_ament_finds_the_package(wheel: zipfile.ZipFile) -> None:
    files = data_files(wheel)
    assert "share/ament_index/resource_index/packages/vla_ros" in files
    assert "share/vla_ros/package.xml" in files
    assert PACKAGE_XML.findtext("export/build_type") == "ament_python"


@pytest.mark.parametrize("folder", ["launch", "config"])
def test_every_launch_and_config_file_is_installed(wheel: zipfile.ZipFile, folder: str) -> None:
    expected = {
        f"share/vla_ros/{path.relative_to(ROOT)}"
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected
    assert expected <= set(data_files(wheel))


def test_bundles_are_installed(wheel: zipfile.ZipFile) -> None:
    assert "share/vla_ros/models/tiny/policy.yaml" in data_files(wheel)


def test_what_is_not_python_comes_along(wheel: zipfile.ZipFile) -> None:
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vla_ros").rglob("*.j2")}
    assert expected
    assert expected <= set(wheel.namelist())


def test_ros2_run_finds_an_executable_for_every_node(wheel: zipfile.ZipFile) -> None:
    wrappers = {Path(name).name: info for name, info in data_files(wheel).items() if name.startswith("lib/vla_ros/")}
    assert set(wrappers) == EXECUTABLES
    for name, info in wrappers.items():
        assert (info.external_attr >> 16) & 0o777 == 0o755, name


def test_wrappers_and_console_scripts_start_the_same_modules(wheel: zipfile.ZipFile) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(metadata(wheel, "entry_points.txt"))
    scripts = dict(parser["console_scripts"])
    assert scripts.pop("vla-ros") == "vla_ros.cli:main"
    assert set(scripts) == EXECUTABLES
    for name, target in scripts.items():
        module, function = target.split(":")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, target
        assert f"-m {module} " in (ROOT / "scripts" / name).read_text(encoding="utf-8")


def test_every_ros_package_that_is_imported_is_a_dependency() -> None:
    declared = {element.text for element in PACKAGE_XML.findall("exec_depend")}
    sources = [*(ROOT / "vla_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    names = {
        name
        for path in sources
        for name in re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    ros = {name for name in names if name.endswith("_msgs") or name in ("rclpy", "launch", "launch_ros", "std_srvs")}
    assert ros <= declared


def test_requirements_are_exact() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            requirement = line.split("#")[0].strip()
            if requirement and not requirement.startswith("-r "):
                assert re.match(r"[\w.-]+(\[\w+\])?==[\w.]+(; python_version .+)?$", requirement), f"{path}: {line}"


def test_requirements_agree_with_the_constraints() -> None:
    lines = (ROOT / "requirements/constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {tuple(line.split(";")[0].strip().split("==")) for line in lines if "==" in line and line[0] != "#"}
    for name in ("ros.txt", "runtime.txt", "libero.txt", "dev.txt"):
        for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
            requirement = line.split("#")[0].split(";")[0].strip()
            if "==" in requirement and not requirement.startswith("torch=="):
                package, version = re.sub(r"\[.*\]", "", requirement).split("==")
                assert (package.lower().replace("_", "-"), version) in pinned, f"{name}: {line}; run make lock"
