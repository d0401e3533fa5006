"""The shipped files of `accelerate launch`, read by accelerate's own parser."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import patch_environment
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from test.train.linear_task import run_config
from vla_ros.errors import ConfigError
from vla_ros.train import parallel
from vla_ros.train.accelerator import fsdp_plugin
from vla_ros.train.parallel import Parallel

FOLDER = Path(__file__).resolve().parents[2] / "config/train/accelerate"
FILES = sorted(FOLDER.glob("*.yaml"))
OF_A_MACHINE = ["--machine_rank", "1", "--main_process_ip", "127.0.0.1"]


def launched(path: Path) -> Namespace:
    """What `accelerate launch` makes of the file, before it starts anything."""
    arguments = ["--config_file", str(path), *(OF_A_MACHINE if "32gpu" in path.name else []), "script.py"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    return args


def environment(path: Path) -> dict[str, str]:
    args = launched(path)
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ""
        return prepare_deepspeed_cmd_env(args)[1]
    return prepare_multi_gpu_env(args)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_knows_every_key(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    options = vars(launch_command_parser().parse_args(["script.py"]))
    for group in (config.fsdp_config, config.deepspeed_config):
        assert set(group or ()) <= set(options)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_launcher_builds_its_environment(path: Path) -> None:
    known = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert environment(path)["ACCELERATE_MIXED_PRECISION"] == known["mixed_precision"]
    args = launched(path)
    assert (args.num_processes, args.num_machines) == (known["num_processes"], known["num_machines"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fsdp_8gpu", Parallel(strategy="fsdp", processes=8, shards=8)),
        ("fsdp_32gpu", Parallel(strategy="fsdp", processes=32, machines=4, shards=32)),
        ("zero2_8gpu", Parallel(strategy="zero2", processes=8, shards=8)),
        ("ddp_2cpu", Parallel(strategy="ddp", processes=2)),
    ],
)
def test_file_and_launched_process_are_planned_alike(name: str, expected: Parallel) -> None:
    path = FOLDER / f"{name}.yaml"
    assert parallel.from_file(path) == expected
    # torch's launcher adds the numbers of processes
    here = str(expected.processes // expected.machines)
    started = environment(path) | {"WORLD_SIZE": str(expected.processes), "LOCAL_WORLD_SIZE": here}
    assert parallel.from_environment(started) == expected


@pytest.mark.parametrize("name", ["fsdp_8gpu", "fsdp_32gpu"])
def test_the_launched_process_gets_fsdp2_in_bfloat16(name: str, tmp_path: Path) -> None:
    names = environment(FOLDER / f"{name}.yaml").items()
    with patch_environment(**{k: v for k, v in names if k.startswith(("FSDP_", "ACCELERATE_USE_FSDP"))}):
        plugin = fsdp_plugin(run_config(tmp_path, precision="bf16"))
        plugin.set_mixed_precision("bf16")  # as accelerate does; it leaves ours alone
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "SHARDED_STATE_DICT"
    policy = plugin.mixed_precision_policy
    assert (policy.param_dtype, policy.reduce_dtype) == (torch.bfloat16, torch.float32)
    assert not policy.cast_forward_inputs
    assert not plugin.activation_checkpointing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fsdp_version": 1}, "fsdp_version: expected 2, got 1"),
        ({"fsdp_offload_params": True}, "fsdp_offload_params: expected False, got True"),
        ({"fsdp_auto_wrap_policy": "NO_WRAP"}, "fsdp_auto_wrap_policy: expected TRANSFORMER_BASED_WRAP, got NO_WRAP"),
    ],
)
def test_what_is_not_planned_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    fields = yaml.safe_load((FOLDER / "fsdp_8gpu.yaml").read_text(encoding="utf-8"))
    fields["fsdp_config"] |= change
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        parallel.from_file(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_key_that_accelerate_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "misspelt.yaml"
    path.write_text("distributed_type: FSDP\nnum_procesess: 8\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="num_procesess"):
        parallel.from_file(path)


def test_hybrid_sharding_is_read_from_the_parallelism(tmp_path: Path) -> None:
    fields = yaml.safe_load((FOLDER / "fsdp_32gpu.yaml").read_text(encoding="utf-8"))
    fields["parallelism_config"] = {
        "parallelism_config_dp_replicate_size": 4,
        "parallelism_config_dp_shard_size": 8,
    }
    path = tmp_path / "hybrid.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    assert parallel.from_file(path) == Parallel(strategy="fsdp", processes=32, machines=4, shards=8)
