"""`vla-ros record` before ROS starts: its topics, its instruction and recovery."""

import argparse
from pathlib import Path

import pytest

from test.data.recordings import demonstration, write
from vla_ros.commands import record
from vla_ros.data.mcap import McapSource
from vla_ros.data.recorded_topics import RecordedTopics, RunTopics
from vla_ros.errors import ConfigError, DatasetError


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    record.add_arguments(parser)
    return parser.parse_args(list(given))


def test_options_replace_the_topics_of_the_file_and_those_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text("image: /camera/image_raw\ngripper: /joint_states\n")
    assert record.chosen_topics(arguments("out")) == RecordedTopics()
    chosen = record.chosen_topics(arguments("out", "--topics", str(file), "--image", "/left", "--pose", "/ee_pose"))
    assert chosen == RecordedTopics(image="/left", gripper="/joint_states", pose="/ee_pose")


def test_without_commands_there_must_be_poses() -> None:
    chosen = record.chosen_topics(arguments("out", "--no-commands", "--pose", "/ee_pose"))
    assert chosen == RecordedTopics(commands=None, pose="/ee_pose")
    with pytest.raises(ConfigError, match="--no-commands: commands: expected a topic where `pose` has none"):
        record.chosen_topics(arguments("out", "--no-commands"))


def test_a_run_has_more_topics_and_takes_their_names_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text("chunks: /arm/action_chunk\n")
    assert record.chosen_topics(arguments("out", "--run")) == RunTopics()
    chosen = record.chosen_topics(arguments("out", "--run", "--topics", str(file), "--no-commands"))
    assert chosen == RunTopics(chunks="/arm/action_chunk", commands=None)
    with pytest.raises(ConfigError, match="chunks: expected one of image, instruction"):
        record.chosen_topics(arguments("out", "--topics", str(file)))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("out", "--image", "/a b"), "command line: topics: expected a topic name, got '/a b'"),
        (("out", "--image", "/instruction"), "command line: topics: expected another topic for each of"),
        ((), "output: expected a folder, got nothing"),
    ],
)
def test_mistakes_are_named_before_anything_is_recorded(given: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        record.run(arguments(*given))


def test_an_instruction_that_no_robot_is_given_is_not_recorded() -> None:
    with pytest.raises(DatasetError, match="--text: "):
        record.run(arguments("out", "--text", "  "))


def test_a_cut_off_recording_is_recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.mcap", demonstration())
    path.write_bytes(path.read_bytes()[:-100])
    assert record.run(arguments("--recover", str(path))) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a_recovered.mcap: 31 messages\n"
    assert len(McapSource(path=tmp_path / "a_recovered.mcap").open()) == 1
