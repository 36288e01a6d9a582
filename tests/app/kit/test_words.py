"""Text from outside is text: what Markdown and Streamlit would make of it, they do not."""

import pytest

from app.kit.words import JOINER, code, plain


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("**x**.png", r"\*\*x\*\*.png"),
        ("![p](http", r"\!\[p\]\(http"),
        ("<img src=x>", r"\<img src=x\>"),
        ("a_b $x$ `c` :red[d]", r"a\_b \$x\$ \`c\` \:red\[d\]"),
        ("&lt;", r"\&lt;"),
        ("- a", r"\- a"),
        ("1. a", r"1\. a"),
        ("= a", r"\= a"),
        ("    code", "code"),
        ("two\nlines", "two  \nlines"),
        ("demo-1.png", "demo-1.png"),
        ("12:34:56", r"12\:34\:56"),
    ],
)
def test_plain(text: str, safe: str) -> None:
    assert plain(text) == safe


@pytest.mark.parametrize(
    "text", ["http://b.test", "www.b.test", ":smile:", ":material/home:", "a -> b", "x >= y"]
)
def test_what_streamlit_looks_for_in_text_is_torn_apart(text: str) -> None:
    safe = plain(text)
    assert safe.replace("\\", "").replace(JOINER, "") == text
    assert JOINER in safe


@pytest.mark.parametrize(
    ("text", "safe"), [("a", "`a`"), ("", ""), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a\nb", "`a b`")]
)
def test_code(text: str, safe: str) -> None:
    assert code(text) == safe
