import socket

from vla_ros.evaluation.domain import DOMAINS, _is_silent, reserved_domain


def test_two_reservations_never_share_a_domain() -> None:
    with reserved_domain() as first, reserved_domain() as second:
        assert first != second
        assert {first, second} <= set(DOMAINS)


def test_a_domain_on_which_a_participant_listens_is_passed_over() -> None:
    with reserved_domain() as domain:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("0.0.0.0", 7400 + 250 * domain + 10))
        assert not _is_silent(domain)
        with reserved_domain() as other:
            assert other != domain
