"""The error that bad input raises."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that cannot be used: says what is wrong, what is allowed and what to do.

    Parameters
    ----------
    problem
        Names the file or configuration key, and its value.
    allowed
        What would have been accepted.
    remedy
        What the user can do about it.
    """

    def __init__(self, problem: str, *, allowed: str, remedy: str) -> None:
        super().__init__(problem, allowed, remedy)
        self.problem = problem
        self.allowed = allowed
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  allowed: {self.allowed}\n  what to do: {self.remedy}"
