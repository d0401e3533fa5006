from pathlib import Path

import pytest

from vla_ros.data.named_source import named_source
from vla_ros.errors import ConfigError, DatasetError

FIXTURE = Path(__file__).parent / "fixtures" / "lerobot_v30"
SOURCE = f"{{lerobot: {{path: {FIXTURE}, camera: observation.images.image, convention: libero}}}}"


@pytest.mark.parametrize(
    "files",
    [
        {"named.yaml": SOURCE},
        {"named.yaml": f"name: training\nsteps: 3\ndata: {{source: {SOURCE}, workers: 2}}"},
        {"named.yaml": "data: {source: one/source.yaml}", "one/source.yaml": SOURCE},
        {"named.yaml": "data: one/data.yaml", "one/data.yaml": "source: source.yaml", "one/source.yaml": SOURCE},
    ],
    ids=["a source", "a training config", "one that includes a source", "one that includes its data"],
)
def test_a_yaml_file_names_the_data_set(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "one").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    name, source = named_source(tmp_path / "named.yaml")
    assert name == "lerobot"
    assert len(source.open()) == 3


def test_another_yaml_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "robot.yaml").write_text("robot: {rate: 3}")
    with pytest.raises(ConfigError, match=r"robot.yaml: robot: expected one of libero"):
        named_source(tmp_path / "robot.yaml")


def test_a_bad_field_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("data: {source: {lerobot: {path: 3}}}")
    with pytest.raises(ConfigError, match=r"train.yaml: data.source.lerobot.path: expected Path, got int 3"):
        named_source(tmp_path / "train.yaml")


def test_nothing_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got nothing"):
        named_source(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"nowhere.yaml: expected a readable YAML file"):
        named_source(tmp_path / "nowhere.yaml")
