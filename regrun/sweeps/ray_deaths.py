"""What an error of Ray means for the stack that was being trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from regrun.errors import ClusterLostError
from regrun.sweeps.worker import WorkerDied


class NodeDied(WorkerDied):
    """The machine is gone. What it was doing is not to blame, so it does not count."""

    counts = False


@contextmanager
def deaths() -> Iterator[None]:
    """Turn what Ray raises for a lost task into WorkerDied, and that of a task into its own.

    Without Ray on this machine, it is a ClusterLostError.
    """
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise meaning_of(error) from error
    except OSError as error:  # of the connection to Ray on this machine
        raise ClusterLostError(f"the Ray cluster was lost: {error.strerror or error}") from error


def meaning_of(error: BaseException) -> BaseException:
    """What an error of Ray means for the stack; one of the task itself as it is."""
    from ray import exceptions

    if isinstance(error, exceptions.RayTaskError):
        return meaning_of(error.cause)  # which is one of Ray where the task lost something
    if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError):
        return NodeDied()
    if isinstance(error, exceptions.WorkerCrashedError | exceptions.OutOfMemoryError):
        return WorkerDied()
    if isinstance(error, exceptions.RayError):
        first = str(error).strip().partition("\n")[0]
        return ClusterLostError(f"the Ray cluster was lost: {first}")
    return error
