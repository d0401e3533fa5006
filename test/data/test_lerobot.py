"""Data sets that LeRobot's own writer wrote, see fixtures/make_lerobot.py."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from test.data.fixtures import make_lerobot
from vla_ros import config
from vla_ros.data.conventions import LIBERO
from vla_ros.data.lerobot import LerobotSource
from vla_ros.errors import ConfigError, DatasetError

FIXTURES = Path(__file__).parent / "fixtures"
VIDEO, IMAGES = "observation.images.image", "observation.images.wrist"
LOSS = 12
"""What compression may change a pixel by; two steps are 28 apart, two episodes 80."""


@pytest.fixture(params=["lerobot_v21", "lerobot_v30"])
def source(request: pytest.FixtureRequest) -> LerobotSource:
    return LerobotSource(path=FIXTURES / request.param, camera=VIDEO, convention="libero")


@pytest.fixture
def copied(source: LerobotSource, tmp_path: Path) -> LerobotSource:
    """One that a test may damage."""
    shutil.copytree(source.path, tmp_path / source.path.name)
    return replace(source, path=tmp_path / source.path.name)


def data_file(source: LerobotSource, episode: int) -> tuple[Path, int]:
    """The file of an episode and its first row there."""
    folder = source.path / "data" / "chunk-000"
    if source.path.name == "lerobot_v21":
        return folder / f"episode_{episode:06d}.parquet", 0
    return folder / "file-000.parquet", sum(make_lerobot.LENGTHS[:episode])


def change(file: Path, column: str, edit: Callable[[list[Any]], None]) -> None:
    """Rewrite one column of a parquet file."""
    table = pq.read_table(file)
    place = table.column_names.index(column)
    values = table[column].to_pylist()
    edit(values)
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.field(column).type)), file)


def change_info(source: LerobotSource, **changes: Any) -> None:
    path = source.path / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_actions_are_in_si_units_and_each_episode_has_its_instruction(source: LerobotSource) -> None:
    dataset = source.open()
    assert (len(dataset), dataset.action) == (3, LIBERO.action)
    for index, task in enumerate(make_lerobot.TASKS):
        episode = dataset.episode(index)
        assert episode.instruction == task
        np.testing.assert_array_equal(episode.actions, LIBERO.to_si(make_lerobot.actions(index)))


@pytest.mark.parametrize(("camera", "loss"), [(VIDEO, LOSS), (IMAGES, 0)])
def test_every_frame_is_exactly_that_step_of_that_episode(source: LerobotSource, camera: str, loss: int) -> None:
    dataset = replace(source, camera=camera).open()
    random = np.random.default_rng(0)
    for index, length in enumerate(make_lerobot.LENGTHS):
        frames = pickle.loads(pickle.dumps(dataset.episode(index).frames))
        for steps in (np.arange(length), random.permutation(length), np.array([length - 1, 0, 0])):
            expected = np.stack([make_lerobot.frame(index, step) for step in steps]).astype(int)
            found = frames(steps)
            assert (found.shape, found.dtype) == (expected.shape, np.uint8)
            # compression blurs the edge of the white corner
            assert np.abs(found - expected)[:, 32:, 32:].max() <= loss
            assert np.abs(found - expected)[:, :8, :8].max() <= loss


def test_a_mirrored_data_set_is_turned_back(source: LerobotSource) -> None:
    frames = replace(source, camera=IMAGES, orientation="mirrored").open().episode(0).frames
    np.testing.assert_array_equal(frames(np.array([2]))[0], make_lerobot.frame(0, 2)[:, ::-1])


def test_open_x_embodiments_libero_has_the_gripper_the_other_way_round(copied: LerobotSource) -> None:
    file, _ = data_file(copied, 1)

    def to_oxe(rows: list[list[float]]) -> None:
        for row in rows:
            row[6] = (1 - row[6]) / 2

    change(file, "action", to_oxe)
    opened = replace(copied, convention="libero_oxe").open().episode(1)
    np.testing.assert_allclose(opened.actions, LIBERO.to_si(make_lerobot.actions(1)), rtol=1e-6)


def test_one_may_spell_out_a_convention_of_ones_own(source: LerobotSource) -> None:
    text = f"""
        path: {source.path}
        camera: {VIDEO}
        own_convention:
          m_per_unit: 0.01
          rad_per_unit: 0.1
          gripper_open: -1.0
          gripper_closed: 1.0
          is_bounded: true
          action: {{frame_id: base, rotation: euler_xyz, control_rate_hz: 20.0}}
    """
    dataset = config.loads(text, LerobotSource, "own.yaml").open()
    np.testing.assert_allclose(
        dataset.episode(0).actions[:, :6], make_lerobot.actions(0)[:, :6] * ([0.01] * 3 + [0.1] * 3), rtol=1e-6
    )
    assert dataset.action.rotation == "euler_xyz"


@pytest.mark.parametrize("given", ["", "convention: bridge, own_convention: own.yaml"])
def test_a_convention_must_be_named(given: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(config.dumps(LIBERO))
    (tmp_path / "source.yaml").write_text(f"{{path: x, camera: y, {given}}}")
    with pytest.raises(ConfigError, match="convention: expected one, or an own_convention, as LeRobot does not say"):
        config.load(tmp_path / "source.yaml", LerobotSource)


def test_a_detected_data_set_tells_what_must_be_said_about_it(source: LerobotSource, tmp_path: Path) -> None:
    assert LerobotSource.detect(tmp_path) is None
    with pytest.raises(
        DatasetError, match=rf"convention: expected what LeRobot does not say.*camera: {VIDEO}\|{IMAGES}"
    ):
        LerobotSource.detect(source.path)


def test_another_rate_than_the_conventions_must_be_stated(copied: LerobotSource) -> None:
    with pytest.raises(DatasetError, match=r"info.json: fps: expected 5, the rate of this .*got 20; .*stated_fps: 20"):
        replace(copied, convention="bridge").open()
    with pytest.raises(DatasetError, match=r"fps: expected 10, .*got 20"):
        replace(copied, stated_fps=10.0).open()
    change_info(copied, fps=10)
    assert replace(copied, stated_fps=10.0).open().action.control_rate_hz == 20.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v1.6"}, r"codebase_version: expected one of v2.0, v2.1, v3.0, got 'v1.6'"),
        ({"fps": None}, "fps: expected a positive number, got None"),
        ({"features": {}}, rf"features.{VIDEO}: expected a camera of this data set \(none\), got nothing"),
        ({"video_path": "videos/{nothing}.mp4"}, r"video_path: expected a pattern of \{video_key\}, .*, got 'videos/"),
        ({"video_path": "../../{video_key}.mp4"}, "video_path: expected a path inside the data set"),
        ({"video_path": None}, "video_path: expected a pattern of a path, got None"),
    ],
)
def test_bad_fields_of_info_json_are_named(copied: LerobotSource, changes: dict[str, Any], message: str) -> None:
    change_info(copied, **changes)
    with pytest.raises(DatasetError, match=rf"meta.info.json: {message}"):
        copied.open()


def test_a_camera_that_is_not_there_is_refused_with_those_that_are(source: LerobotSource) -> None:
    with pytest.raises(DatasetError, match=rf"features.top: expected a camera .*\({VIDEO}, {IMAGES}\), got nothing"):
        replace(source, camera="top").open()


def test_a_folder_without_meta_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"info.json: expected a file of a LeRobot data set, got: No such file"):
        LerobotSource(path=tmp_path, camera=VIDEO, convention="libero").open()


def test_an_episode_with_several_tasks_is_refused(copied: LerobotSource) -> None:
    file, first = data_file(copied, 2)
    change(file, "task_index", lambda values: values.__setitem__(first + 3, 1))
    with pytest.raises(DatasetError, match=r"episode_2.task_index: expected one task, got 2: \[0, 1\]"):
        copied.open().episode(2)


def test_an_unknown_task_is_refused(copied: LerobotSource) -> None:
    file, first = data_file(copied, 0)
    change(file, "task_index", lambda values: values.__setitem__(slice(first, first + 8), [7] * 8))
    with pytest.raises(DatasetError, match=r"episode_0.task_index: expected a number of meta/tasks, got 7"):
        copied.open().episode(0)


def test_an_action_that_is_not_finite_is_named_with_its_step(copied: LerobotSource) -> None:
    file, first = data_file(copied, 1)
    change(file, "action", lambda rows: rows[first + 4].__setitem__(2, float("nan")))
    dataset = copied.open()
    with pytest.raises(DatasetError, match=rf"{file.name}: episode_1.action\[4\].z: expected a finite number, got nan"):
        dataset.episode(1)
    assert len(dataset.episode(0)) == 8, "others are read as before"


def test_actions_in_other_units_are_refused(copied: LerobotSource) -> None:
    file, first = data_file(copied, 0)
    change(file, "action", lambda rows: rows[first].__setitem__(0, 3.0))
    with pytest.raises(DatasetError, match=r"episode_0.action\[0\].x: expected units in \[-1, 1\], got 3"):
        copied.open().episode(0)


def test_a_feature_of_another_width_is_refused(source: LerobotSource) -> None:
    with pytest.raises(DatasetError, match=r"episode_0.timestamp: expected numbers \[n, 7\], got float32 \[8\]"):
        replace(source, action="timestamp").open().episode(0)
    with pytest.raises(
        DatasetError, match=r"parquet: actions: expected a column of this file \(.*action.*\), got nothing"
    ):
        replace(source, action="actions").open().episode(0)


def test_a_truncated_episode_is_refused(copied: LerobotSource) -> None:
    file, _ = data_file(copied, 2)
    table = pq.read_table(file)
    pq.write_table(table.slice(0, len(table) - 2), file)
    with pytest.raises(DatasetError, match=r"episode_2: expected 7 steps as in meta/, got 5"):
        copied.open().episode(2)


def test_a_truncated_file_is_refused(copied: LerobotSource) -> None:
    file, _ = data_file(copied, 0)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=rf"{file.name}: expected a whole parquet file, got"):
        copied.open().episode(0)


def test_steps_in_the_wrong_order_are_refused(copied: LerobotSource) -> None:
    file, first = data_file(copied, 0)
    change(file, "frame_index", lambda values: values.__setitem__(first + 1, 5))
    with pytest.raises(DatasetError, match=r"episode_0.frame_index\[1\]: expected 1, got 5"):
        copied.open().episode(0)


def test_steps_of_another_rate_are_refused(copied: LerobotSource) -> None:
    file, first = data_file(copied, 0)
    change(file, "timestamp", lambda values: values.__setitem__(first + 2, 0.12))
    with pytest.raises(DatasetError, match=r"timestamp\[2\]: expected 0.1000 s at 20 fps, got 0.1200 s"):
        copied.open().episode(0)


def test_a_video_that_ends_before_its_episode_is_refused(copied: LerobotSource) -> None:
    videos = sorted((copied.path / "videos").rglob("*.mp4"))
    shutil.copy(sorted((FIXTURES / "lerobot_v21" / "videos").rglob("*.mp4"))[1], videos[-1])
    with pytest.raises(
        DatasetError, match=rf"{videos[-1].name}: step \d: expected a frame at .* s, got a video of 0.300 s"
    ):
        copied.open().episode(2)


def test_a_missing_video_is_refused_with_the_episode_and_not_later(copied: LerobotSource) -> None:
    shutil.rmtree(copied.path / "videos")
    with pytest.raises(DatasetError, match=r"\.mp4: expected a whole video, got"):
        copied.open().episode(0)


def test_a_damaged_image_is_named(copied: LerobotSource) -> None:
    file, first = data_file(copied, 1)
    change(file, IMAGES, lambda rows: rows.__setitem__(first + 2, {"bytes": b"no image", "path": ""}))
    frames = replace(copied, camera=IMAGES).open().episode(1).frames
    with pytest.raises(DatasetError, match=rf"{IMAGES}\[{first + 2}\]: expected a whole PNG or JPEG file, got 8 bytes"):
        frames(np.array([0, 2]))


def test_a_damaged_line_of_version_2_is_named(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "lerobot_v21", tmp_path / "data")
    with (tmp_path / "data" / "meta" / "episodes.jsonl").open("a") as handle:
        handle.write('{"episode_index": 3}\n')
    with pytest.raises(DatasetError, match=r"episodes.jsonl: line 4: expected an entry of LeRobot, got KeyError"):
        LerobotSource(path=tmp_path / "data", camera=VIDEO, convention="libero").open()


@pytest.fixture
def two_files(tmp_path: Path) -> LerobotSource:
    """Version 3 with episode 0 in file-000 and the others in file-001, though the table says file-000 for all.

    LeRobot's converter from 2.1 leaves such tables.
    """
    shutil.copytree(FIXTURES / "lerobot_v30", tmp_path / "data")
    first = tmp_path / "data" / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(first)
    pq.write_table(table.slice(0, 8), first)
    pq.write_table(table.slice(8), first.with_name("file-001.parquet"))
    return LerobotSource(path=tmp_path / "data", camera=IMAGES, convention="libero")


def test_rows_of_version_3_are_found_though_the_table_names_another_file(two_files: LerobotSource) -> None:
    dataset = two_files.open()
    for index in range(3):
        episode = dataset.episode(index)
        np.testing.assert_array_equal(episode.actions, LIBERO.to_si(make_lerobot.actions(index)))
        np.testing.assert_array_equal(episode.frames(np.array([4]))[0], make_lerobot.frame(index, 4))


@pytest.mark.parametrize("bad", [0, 1])
def test_a_damaged_file_of_version_3_spoils_its_own_episodes_only(two_files: LerobotSource, bad: int) -> None:
    file = two_files.path / "data" / "chunk-000" / f"file-00{bad}.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    dataset = two_files.open()
    assert len(dataset.episode(2 - 2 * bad)) == (7 if bad == 0 else 8)
    with pytest.raises(DatasetError, match=rf"{file.name}: expected a whole parquet file"):
        dataset.episode(bad)


def test_a_data_set_of_version_3_without_data_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "lerobot_v30", tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "data")
    with pytest.raises(DatasetError, match=r"data: expected chunk-000/file-000.parquet, got nothing"):
        LerobotSource(path=tmp_path / "data", camera=VIDEO, convention="libero").open()


def test_a_table_of_version_3_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "lerobot_v30", tmp_path / "data")
    path = tmp_path / "data" / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["length"]), path)
    with pytest.raises(DatasetError, match=r"file-000.parquet: length: expected a column of this file"):
        LerobotSource(path=tmp_path / "data", camera=VIDEO, convention="libero").open()


@pytest.mark.parametrize("column", ["episode_index", "frame_index", "task_index", "timestamp"])
@pytest.mark.parametrize("value", ["x", [[1.0]], None])
def test_a_column_of_another_type_is_named(copied: LerobotSource, column: str, value: object) -> None:
    file, _ = data_file(copied, 0)
    table = pq.read_table(file)
    table = table.set_column(table.column_names.index(column), column, pa.array([value] * len(table)))
    pq.write_table(table, file)
    with pytest.raises(DatasetError, match=rf"{file.name}: episode_0\.{column}.*: expected"):
        copied.open().episode(0)


@pytest.mark.parametrize("length", [-1, 2.5, 10**12, 4])
def test_a_wrong_length_is_refused(copied: LerobotSource, length: float) -> None:
    if copied.path.name == "lerobot_v21":
        path = copied.path / "meta" / "episodes.jsonl"
        first, *others = path.read_text().splitlines()
        path.write_text("\n".join([json.dumps({**json.loads(first), "length": length}), *others]))
    else:
        path = copied.path / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
        table = pq.read_table(path)
        lengths = pa.array([length, *table["length"].to_pylist()[1:]])
        pq.write_table(table.set_column(table.column_names.index("length"), "length", lengths), path)
    with pytest.raises(DatasetError, match=r"length|expected \d+ steps as in meta/, got (more|\d+)"):
        copied.open().episode(0)


def test_images_of_several_sizes_are_named(copied: LerobotSource) -> None:
    file, row = data_file(copied, 0)

    def shrink(images: list[Any]) -> None:
        images[row]["bytes"] = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()

    change(file, IMAGES, shrink)
    frames = replace(copied, camera=IMAGES).open().episode(0).frames
    with pytest.raises(DatasetError, match=rf"{file.name}: {IMAGES}: expected frames of one size"):
        frames(np.arange(2))
