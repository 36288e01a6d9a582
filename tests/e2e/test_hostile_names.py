"""Names, labels, titles, errors and links that would be Markdown, HTML or a script: pages show their text.

Without the content security policy, which would stop the worst of it: what is text needs no such help.
"""

import json
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlparse

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.kit.words import JOINER
from assets.demo import draw as demo
from core import runs
from core.archive import ingest
from core.data import load
from core.runs import Run
from core.training import loop
from tests.e2e.conftest import PATIENCE_MS, Server, wait
from tests.small_runs import by_hand
from tests.small_runs import config as small

expect.set_options(timeout=PATIENCE_MS)
LABELS = [
    "<img src=x onerror=document.title='broken'>",
    "![p](http://b.test/label.png)",
    "[a](http://b.test)",
    "**bold** :material/home:",
]
FILES = ["**x**.png", "<img src=x onerror=document.title='broken'>.png", "[a](www.b.test).png", "`c` $x$.png"]
TITLE, OTHER = "![p](http://b.test/title.png)", "[a](http://b.test) <b>x</b>"
WHY = "it broke: ![p](http://b.test/why.png) **bold** <script>document.title='broken'</script>"
LINK = "![p](http://b.test/link.png)"
GONE = "[gone](http://b.test) :red[x]"

# All text of a page, also in components and widgets; and whatever leads or looks elsewhere, or is a script.
READ = """() => {
  const texts = [], wrong = [];
  const elsewhere = (at) => {
    const { protocol, hostname } = new URL(at, location);
    return /^(https?|mailto):/.test(protocol) && hostname !== location.hostname;
  };
  const walk = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) {
        texts.push(...[...node.shadowRoot.children].map((one) => one.innerText));
        walk(node.shadowRoot);
      }
      if (node.value) texts.push(String(node.value));
      const leads = ["src", "href", "xlink:href"].map((name) => node.getAttribute(name)).filter(Boolean);
      const listens = [...node.attributes].some((one) => one.name.startsWith("on"));
      if (listens || leads.some(elsewhere)) wrong.push(node.outerHTML);
    }
  };
  walk(document);
  const drawn = document.querySelectorAll("svg text, [data-testid=stDataFrame] td");
  texts.push(document.body.innerText, ...[...drawn].map((one) => one.textContent));
  return { texts: texts.join("\\n"), wrong };
}"""


@pytest.fixture(scope="module")
def hostile(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder, runs and an archive with such names: what the links need of them."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = ["image;" + ";".join(LABELS)]
    for index in range(48):
        drawn, _ = demo.draw(index, size=48)
        name = FILES[index] if index < len(FILES) else f"_{index}_*.png"
        Image.fromarray(drawn).save(folder / name)
        rows.append(f"{name};{index % 2};{index // 2 % 2};{index // 4 % 2};1")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", server.environment["MACL_CACHE"])
        load("folder", str(folder), image_size=96)
        run = runs.create(small(folder, image_size=96, loss="macl", epochs=1), server.run_root)
        assert loop.run(run.path) == "finished"
        ingest.add(folder.parent / "hostile archive", [run], [str(folder)])
    by_hand(run, 3.0)
    other = Run(shutil.copytree(run.path, run.path.with_name(f"{run.id}-copied")))
    run.rename(TITLE)
    other.rename(OTHER)
    failed, gone = (runs.create(run.config, server.run_root) for _ in range(2))
    failed.mark("started")
    failed.mark("error.txt", WHY)
    failed.rename(OTHER + " 2")
    gone.rename(GONE)
    runs.delete(gone)
    return {
        "folder": str(folder),
        "archive": str(folder.parent / "hostile archive"),
        "macl": run.id,
        "failed": failed.id,
    }


@pytest.fixture
def unprotected(browser: Browser) -> Iterator[Page]:
    """A tab without the policy; the test fails if it asked for anything elsewhere."""
    size = {"width": 1280, "height": 1600}
    context = browser.new_context(bypass_csp=True, viewport=size, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("dialog", lambda dialog: asked.append(f"dialog://{dialog.message}"))
    page = context.new_page()
    yield page
    context.close()
    elsewhere = [url for url in asked if urlparse(url).hostname not in ("localhost", None)]
    assert not elsewhere


OWN = {"dataset": "Your own images", "folder_root": "folder", "size": "96"}
# A page, its link (a value that is a key of `hostile` stands for what is there), and what has to be read.
PLACES = [
    ("", {}, [TITLE, OTHER]),
    ("data", {**OWN, "seed": LINK, "view": "Labels"}, [LINK, *LABELS]),
    ("data", {**OWN, "labels": LINK, "view": "Images"}, [LINK, LABELS[0], LABELS[3]]),
    ("data", {**OWN, "view": "Together"}, [", ".join(LABELS[2:]), LABELS[0]]),
    ("data", {**OWN, "view": "Paper"}, LABELS),
    ("data", {**OWN, "folder_root": LINK}, [LINK]),
    ("train", {"runs": ["macl", "failed", LINK], "seeds": LINK, "loss": LINK}, [TITLE, WHY, LINK]),
    ("compare", {"runs": LINK, "baseline": LINK, "metric": LINK, "figure": "Labels"}, [LINK, *LABELS]),
    ("retrieval", {"runs": ["macl", LINK], "query": LINK, "labels": LINK}, [TITLE, LINK, LABELS[3]]),
    ("embeddings", {"runs": ["macl", LINK], "projection": "PCA"}, [TITLE, LINK, LABELS[0]]),
    ("mechanism", {"run": "macl", "m_how": LINK}, [TITLE, LINK, LABELS[3]]),
    ("mechanism", {"run": LINK, "m_view": "Which labels gain"}, [LINK, *LABELS]),
    ("archive", {"archive": "archive", "query": LINK}, [LINK, FILES[0]]),
    ("archive", {"archive": LINK}, [LINK]),
    ("sensitivity", {"lab_dataset": LINK, "lab_seed": LINK}, [LINK]),
    ("sensitivity", {"s_view": "Sweeps", "sweep": LINK, "sw_seeds": LINK, "sw_metric": LINK}, [LINK]),
]
IDS = [f"{name or 'home'}-{number}" for number, (name, *_) in enumerate(PLACES)]


@pytest.mark.parametrize(("name", "link", "words"), PLACES, ids=IDS)
def test_what_is_not_the_programs_own_is_text(
    server: Server,
    hostile: dict[str, str],
    unprotected: Page,
    name: str,
    link: dict[str, Any],
    words: list[str],
) -> None:
    def value(said: object) -> object:
        return [value(one) for one in said] if isinstance(said, list) else hostile.get(str(said), said)

    page = unprotected
    query = urlencode({key: value(said) for key, said in link.items()}, doseq=True)
    page.goto(f"{server.url}/{name}?{query}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    missing = list(words)

    def all_there() -> bool:
        read = page.evaluate(READ)
        assert not read["wrong"], read["wrong"][:3]
        text = " ".join(read["texts"].replace(JOINER, "").replace("\xa0", " ").split())
        missing[:] = [one for one in words if one not in text]
        return not missing or bool(page.wait_for_timeout(100))

    try:
        wait(all_there)
    except AssertionError as error:
        raise AssertionError(f"{json.dumps(missing)} cannot be read: {error}") from None
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    assert not page.evaluate(READ)["wrong"]
    assert "broken" not in page.title()
    expect(page.get_by_test_id("stException")).to_have_count(0)
