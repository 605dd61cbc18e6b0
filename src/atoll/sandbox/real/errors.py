"""What stops the sandbox, in words a person can act on."""


class SandboxError(Exception):
    """The sandbox cannot go on; the message says what is wrong and what to do about it."""
