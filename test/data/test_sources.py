"""Which format a path is, and how a YAML file names one."""

from pathlib import Path

import pytest

from test.data.test_libero import ATTRIBUTES, recording
from vla_ros import config
from vla_ros.data.libero import LiberoDataset, LiberoSource
from vla_ros.data.libero_writer import write_file
from vla_ros.data.sources import FORMATS, DataSource, detect
from vla_ros.errors import ConfigError, DatasetError


def test_a_yaml_file_names_one_format() -> None:
    source = config.loads("rlds: {path: bridge_orig/1.0.0, kind: bridge}", DataSource, "train.yaml")
    assert source.rlds is not None
    assert (source.rlds.path, source.rlds.kind, source.rlds.split) == (Path("bridge_orig/1.0.0"), "bridge", "train")
    with pytest.raises(ConfigError, match=r"expected exactly one of libero, calvin.*, got nothing"):
        config.loads("{}", DataSource, "train.yaml")
    with pytest.raises(ConfigError, match="got libero, calvin"):
        config.loads("{libero: {path: a}, calvin: {path: b}}", DataSource, "train.yaml")
    with pytest.raises(ConfigError, match=r"calvin.split: expected one of training, validation, got"):
        config.loads("calvin: {path: b, split: test}", DataSource, "train.yaml")


def test_a_file_and_its_folder_are_recognised_and_open(tmp_path: Path) -> None:
    file = tmp_path / "task_demo.hdf5"
    write_file(file, ATTRIBUTES, [recording()])
    assert detect(file) == DataSource(libero=LiberoSource(path=file))
    opened = detect(tmp_path).open()
    assert isinstance(opened, LiberoDataset)
    assert len(opened) == 1


def test_every_format_can_be_named_and_detected() -> None:
    fields = DataSource.__dataclass_fields__
    assert list(fields) == list(FORMATS)


@pytest.mark.parametrize(("name", "got"), [("empty", "something else"), ("missing", "nothing")])
def test_an_unknown_folder_is_refused_with_what_was_looked_for(tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError) as error:
        detect(tmp_path / name)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / name}: expected one of ")
    assert message.endswith(f"; got {got}")
    for key, (_, mark) in FORMATS.items():
        assert f"{mark} ({key})" in message
