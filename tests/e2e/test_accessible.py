"""What someone hears or says who does not see a page: headings in order, table heads, names of buttons."""

import itertools
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.data import load
from tests.e2e.conftest import PATIENCE_MS, Server

DEMO = "dataset=Demo+scenes&size=128"
RUNS = "runs=recorded-macl-s0&runs=recorded-macl_nested-s0"
PAGES = {  # with what shows that it is all there
    "": ".bars",
    f"data?{DEMO}": ".macl table",
    f"data?{DEMO}&view=Together": ".macl table",
    f"data?{DEMO}&view=Paper": ".macl table",
    "train": "[data-testid=stDataFrame] th",
    "compare?baseline=MulSupCon&figure=Labels&datasets=Demo+scenes": ".js-plotly-plot",
    "compare?group=method&published=true": ".macl table",
    f"retrieval?{RUNS}": ".tile img",
    f"embeddings?{RUNS}&projection=PCA": ".macl table",
    "mechanism?run=recorded-macl-s0": ".heatmaps[data-drawn]",
    "mechanism?run=recorded-macl-s0&m_view=One+anchor+(Fig.+1)": ".strip .tile",
    "archive": "[data-testid=stExpander]",
    "sensitivity?lab_dataset=Demo+scenes": ".tile img",
    "sensitivity?s_view=Sweeps": "[data-testid=stExpander]",
}
# Components have trees of their own.
EVERY = """(pattern) => {
  const found = [];
  const walk = (root) => root.querySelectorAll("*").forEach((node) => {
    if (node.matches(pattern)) found.push(node);
    if (node.shadowRoot) walk(node.shadowRoot);
  });
  walk(document);
  const seen = (node) => node.checkVisibility({ opacityProperty: false, visibilityProperty: true });
  const kept = found.filter((node) => node.closest("[data-testid=stDataFrame]") || seen(node));
  return kept.map((node) => ({
    tag: node.tagName, text: (node.innerText ?? "").trim() || (node.textContent ?? "").trim(),
    label: node.getAttribute("aria-label") ?? "", role: node.getAttribute("role") ?? "",
    image: [...node.querySelectorAll("img[alt]")].map((image) => image.alt).join(" "),
  }));
}"""


@pytest.fixture(autouse=True, scope="module")
def _runs(server: Server, finished_runs: Path) -> None:
    shutil.copytree(finished_runs, server.run_root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", server.environment["MACL_CACHE"])
        load("demo", image_size=128)


@pytest.mark.parametrize("address", PAGES)
def test_headings_tables_and_names(server: Server, page: Page, address: str) -> None:
    page.goto(f"{server.url}/{address}")
    expect(page.locator(PAGES[address]).first).to_be_attached(timeout=3 * PATIENCE_MS)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)

    levels = [int(one["tag"][1]) for one in page.evaluate(EVERY, "h1, h2, h3, h4, h5, h6")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels

    heads = page.evaluate(EVERY, "th, [role=columnheader]")
    assert not [one for one in heads if not (one["text"] or one["label"])]

    for one in page.evaluate(EVERY, "button, a[href], [role=button], [role=link]"):
        name = one["label"] or f"{one['image']} {one['text']}"
        assert name.strip(), one
        if one["label"]:  # who speaks to the page says what is read on it
            assert plain(one["text"]) in plain(one["label"]), one


def plain(text: str) -> str:
    """Letters and digits alone: icons and line breaks are not read."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())
