"""What can go wrong in a training that its user can put right."""

from rs4d.errors import UserError


class NonFiniteLossError(UserError, ArithmeticError):
    """The loss has not been a number for many steps in a row."""


class ResumeError(UserError, ValueError):
    """A training cannot go on from a checkpoint, which belongs to another one."""
