"""The features of a serialized tf.train.Example, parsed by the protobuf library without TensorFlow.

    message Example { Features features = 1; }        message Features { map<string, Feature> feature = 1; }
    message Feature { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }

On the wire a map is a list of entries of key and value, which is how it is declared here.
"""

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from vla_ros.errors import DatasetError

_ONE, _MANY = "LABEL_OPTIONAL", "LABEL_REPEATED"
_SCHEMA: dict[str, list[tuple[str, str, str]]] = {
    "BytesList": [("value", _MANY, "TYPE_BYTES")],
    "FloatList": [("value", _MANY, "TYPE_FLOAT")],
    "Int64List": [("value", _MANY, "TYPE_INT64")],
    "Feature": [
        ("bytes_list", _ONE, "BytesList"),
        ("float_list", _ONE, "FloatList"),
        ("int64_list", _ONE, "Int64List"),
    ],
    "Entry": [("key", _ONE, "TYPE_STRING"), ("value", _ONE, "Feature")],
    "Features": [("feature", _MANY, "Entry")],
    "Example": [("features", _ONE, "Features")],
}
"""Fields of each message as (name, label, type), numbered from 1."""


def parse_features(data: bytes, where: str) -> dict[str, Any]:
    """The features by name, each a protobuf message with `bytes_list`, `float_list` and `int64_list`.

    Raises:
        DatasetError: the bytes are no Example; `where` names them.
    """
    example = example_type()()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise DatasetError(f"{where}: expected a tf.train.Example, got: {error}") from error
    return {entry.key: entry.value for entry in example.features.feature}


@functools.cache
def example_type() -> Any:
    """The message class `Example`."""
    messages = [{"name": name, "field": _fields(fields)} for name, fields in _SCHEMA.items()]
    description = {"name": "example.proto", "package": "vla_ros", "syntax": "proto3", "messageType": messages}
    pool = descriptor_pool.DescriptorPool()
    pool.Add(json_format.ParseDict(description, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("vla_ros.Example"))


def _fields(fields: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "number": number, "label": label}
        | ({"type": kind} if kind.startswith("TYPE_") else {"type": "TYPE_MESSAGE", "typeName": f".vla_ros.{kind}"})
        for number, (name, label, kind) in enumerate(fields, start=1)
    ]
