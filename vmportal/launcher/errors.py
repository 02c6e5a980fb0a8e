"""What ends a command with a sentence instead of a traceback."""


class PortalError(Exception):
    """A sentence for the person at the terminal, perhaps with the last lines of what failed."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details
