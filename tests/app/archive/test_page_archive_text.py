"""What comes from outside is text on the archive page: names of files, folders, runs, labels and in links."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.kit.words import JOINER
from core import archive
from core.archive import Encoder, job, marks
from tests.app.archive.conftest import shown
from tests.components import open_page
from tests.core.archive import made

NAME = "**x**<img src=x onerror=alert(1)>.png"
LABEL = "![a](http://b)"
FOLDER = "**x**<img src=y onerror=alert(2)> [c](mailto:d)"
RUN = ":red[e] `f` $g$ <b>h</b>"


@pytest.fixture
def hostile(root: Path, tmp_path: Path) -> str:
    """An archive all of whose names are markup; marked, and known to the page."""
    place = tmp_path / FOLDER
    filled(place)
    job.remember(str(place))
    marks.mark(place, LABEL, 3, True)
    return str(place)


def filled(place: Path, number: int = 40) -> None:
    encoder = Encoder("a" * 16, made.DIM, RUN, "/gone", 32, "", (LABEL, "sea"))
    records = [
        archive.Record(
            i, i, f"/{FOLDER}/{i} {NAME}", "0 0 9 9" if i % 2 else "", lon=7.5, lat=47 + i / 100,
            label=LABEL, share=1.0, labels=(LABEL,),
        )
        for i in range(number)
    ]  # fmt: skip
    archive.create(place, encoder).add(records, made.vectors(number))


def formatted(page: Any) -> list[str]:
    """All texts of the page that are read as Markdown or HTML."""
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "title", "header", "subheader")
    texts = [one.value for kind in kinds for one in getattr(page, kind)]
    texts += [one.label for kind in ("expander", "button", "checkbox", "tabs") for one in getattr(page, kind)]
    texts += [one.proto.body for one in page.get("html")]
    texts += [one.proto.text for one in page.get("progress")]
    fields = [*page.text_input, *page.text_area, *page.multiselect, *page.selectbox]
    return texts + [text for one in fields for text in (one.label, one.help or "")]


RAW = ("**x**", "<img", "![a](http", "[c](mailto", ":red[", "<b>h")


def check(page: Any) -> str:
    """All of it, once none of what came from outside is read as more than text."""
    texts = formatted(page)
    for raw in RAW:
        assert not [text for text in texts if raw in re.sub(r"\\.", "", text)]  # without what is escaped
    return " ".join(texts)


def test_what_is_found_is_text(hostile: str) -> None:
    page = open_page("archive", archive=hostile, labels=LABEL, looking=LABEL, minus="5", archive_list="1")
    text = check(page)
    assert rf"\!\[a\]\(http\:{JOINER}//b\): 1 right, 0 wrong" in text
    data = shown(page)  # drawn as text nodes
    assert NAME in data["query"]["name"]
    assert data["rows"][0]["title"] == RUN
    assert data["rows"][0]["tiles"]
    for condition in (LABEL, "it's"):
        page.text_input("archive_source").set_value(condition).run()
        check(page)


def test_what_a_link_says_is_text(hostile: str) -> None:
    page = open_page(
        "archive", archive=hostile, query=f"image:{NAME}", runs=RUN, labels=[LABEL, FOLDER], plus=NAME,
        k=NAME, box=NAME, looking=FOLDER, source=NAME, exact=NAME,
    )  # fmt: skip
    text = check(page)
    assert r"image\:\*\*x\*\*\<img src=x onerror=alert\(1\)\>.png is not in this archive" in text
    for other in (NAME, f"/{FOLDER}/{NAME}", "https://" + NAME):
        gone = open_page("archive", archive=other)
        check(gone)
        assert gone.error


def test_what_is_said_of_jobs_and_by_the_form_is_text(hostile: str, tmp_path: Path) -> None:
    from tests.app.archive.test_page_archive_jobs import noted

    report = {"added": {RUN: 5}, "unread": 1, "broken": [[NAME, FOLDER]], "notes": [LABEL, NAME]}
    for state, more in (("done", {"report": report}), ("failed", {"error": f"{NAME} {LABEL}"}), ("none", {})):
        noted(job.Job(f"{hostile}/{state}{FOLDER}", (RUN,), (NAME,)), state, **more)
    check(open_page("archive", archive=hostile))


def test_a_list_of_archives_is_escaped(hostile: str) -> None:
    from app.archive import make

    class Shown:
        open = True

        def __enter__(self) -> "Shown":
            return self

        def __exit__(self, *error: object) -> None: ...

    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make.st, "expander", lambda *a, **k: Shown())
        patch.setattr(make.st, "html", told.append)
        make.overview([hostile, f"/gone/{NAME}"])
    (html,) = told
    assert not [raw for raw in ("<img", "<b>h") if raw in html]
    assert "&lt;img" in html
    assert "&lt;b&gt;h" in html
