"""Secrets of the configuration that stand in files: `file:PATH` in the place of the text itself."""

from pathlib import Path
from typing import Final

FILE: Final = "file:"

MOST_BYTES: Final = 4096


def secret_text(value: str) -> str:
    """The text that a secret stands for, read anew each time. Raises OSError, UnicodeDecodeError."""
    if not value.startswith(FILE):
        return value
    with Path(value.removeprefix(FILE)).open(encoding="utf-8") as file:
        return file.read(MOST_BYTES).strip()
