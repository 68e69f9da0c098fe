"""What can go wrong in a training that its user can put right."""

from rs4d.errors import UserError


class NonFiniteLossError(UserError, ArithmeticError):
    """The loss has not been a number for many steps in a row."""
