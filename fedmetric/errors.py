"""Errors a user can act on, each with the exit code that the command line returns for it."""


class FedmetricError(Exception):
    """Say what was given, what is allowed and what to do; base of every error that fedmetric raises on purpose."""

    exit_code = 1


class UsageError(FedmetricError):
    """Report a request that cannot be carried out as typed: a wrong flag, a folder that is taken."""

    exit_code = 2


class MissingExtraError(FedmetricError):
    """Name the pip line that installs an optional dependency which the request needs."""

    exit_code = 3

    def __init__(self, extra: str, wanted_for: str) -> None:
        super().__init__(f"{wanted_for} needs the extra '{extra}'; install it with: pip install 'fedmetric[{extra}]'")


class ConfigError(FedmetricError):
    """Report an experiment that is wrong before any data is read."""

    exit_code = 4


class DataError(FedmetricError):
    """Report images, labels or folders that cannot be used as asked."""

    exit_code = 4


class TooFewClientsError(FedmetricError):
    """Report a round that lost more clients than the experiment allows."""

    exit_code = 5


class CollapseError(FedmetricError):
    """Report that the embedding space collapsed in a run that was asked to end then."""

    exit_code = 7


class ProtocolError(FedmetricError):
    """Report a message whose sender speaks another version, or whose contents are not what was asked for."""


class Interrupted(BaseException):
    """Say that a signal asked a run to end; its last finished round is in a checkpoint.

    Not an Exception, so that a client which answers its own errors does not take it for one.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}; continue with 'fedmetric resume'")
        self.exit_code = 128 + signal_number
