"""Which version of the program this checkout holds."""

import subprocess

from core.files import PROJECT


def commit() -> str:
    """The commit of this checkout, twelve digits; empty if git does not say."""
    asked = ["git", "-C", str(PROJECT), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, or no repository
        return ""
