"""Words on a page that come from data, a file or an address."""


def plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(rf"\{c}" if c in r"\`*_{}[]<>()#+!|~$@:" else c for c in text)
