"""What the kernel itself refuses."""

from __future__ import annotations


class KernelError(RuntimeError):
    """The root of the kernel's errors."""


class MailboxFullError(KernelError):
    """The bounded lane of a mailbox is full; the message was not taken."""


class UnknownMessageError(KernelError, TypeError):
    """The actor has no handler for a message; it goes on with the next one."""


class ActorCrashedError(KernelError):
    """Stands in for a BaseException inside an actor, which Pykka would turn into a global stop."""


class BlockingCallError(KernelError):
    """A call that waits was made on a thread that steps actors, where nothing may wait."""


class ForkedProcessError(KernelError):
    """The actor system belongs to the parent process; its threads do not exist after a fork."""
