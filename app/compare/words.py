"""Words on the compare page that come from data."""


def plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(rf"\{c}" if c in r"\`*_{}[]<>()#+!|~$@:" else c for c in text)
