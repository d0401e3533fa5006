"""What can be wrong, by who can mend it.

Every message reads `<file or topic>: <dotted.path>: expected X, got Y`, and names the command that mends it where
there is one.
"""


class VlaRosError(Exception):
    """Base of all errors that a user can mend; the command line prints them in one line, without a traceback."""


class ConfigError(VlaRosError):
    """A YAML file or a parameter holds a wrong key, type or value."""


class ContractError(VlaRosError):
    """Two parts that should fit do not: a policy and a robot, a policy and a simulator, a chunk and a gate."""


class BundleError(VlaRosError):
    """A policy folder is missing, incomplete, altered or unsafe; nothing of it was parsed."""


class EngineError(VlaRosError):
    """An inference engine cannot run where and as it was asked to."""


class ObservationError(VlaRosError):
    """A camera frame or an instruction was refused; the robot holds.

    Attributes:
        reason: the short name under which refusals of this kind are counted.
    """

    def __init__(self, message: str, reason: str = "observation") -> None:
        super().__init__(message)
        self.reason = reason


class DatasetError(VlaRosError):
    """A demonstration file is missing a field, or holds it in another shape, type or unit."""


class SimulatorError(VlaRosError):
    """A simulator is missing, asked for something that it does not have, or died."""
