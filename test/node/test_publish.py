"""A publication that the middleware does not take is logged and survived."""

from types import SimpleNamespace

from vla_ros.node.publish import publish


def test_a_failed_publication_is_logged_with_its_topic_and_survived() -> None:
    errors: list[str] = []

    def fail(message: object) -> None:
        raise RuntimeError("cannot publish data,\nat rmw_publish.cpp:68")

    node = SimpleNamespace(get_logger=lambda: SimpleNamespace(error=errors.append))
    publisher = SimpleNamespace(topic_name="/delta_twist_cmds", publish=fail)
    assert not publish(node, publisher, "a command")  # type: ignore[arg-type]
    assert errors == ["/delta_twist_cmds: not published: cannot publish data, at rmw_publish.cpp:68"]
    sent: list[object] = []
    assert publish(node, SimpleNamespace(topic_name="/x", publish=sent.append), "a command")  # type: ignore[arg-type]
    assert sent == ["a command"]
