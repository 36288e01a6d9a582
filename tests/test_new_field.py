"""A new field of a run is one line in `RunConfig`: everything that a person sees of it is made from there."""

import json
from pathlib import Path

import pytest

from tests.test_contributing import House

NUMBER = '    warmup: int = Field(3, ge=0, le=50, title="Rise", description="Epochs of a rising rate")\n'
CHOICE = '    order: Literal["random", "sorted"] = Field("random", description="Of the batches")\n'
SWITCH = '    mirror: bool = Field(False, description="Flip every image")\n'
SEEN = """
import json, shlex, sys
from app.train.command import command
from core.runs import RunConfig, settings
from tests.components import open_page

page = open_page("train")
number, choice = page.number_input(key="instant.warmup"), page.selectbox(key="instant.order")
page.toggle(key="instant.mirror").set_value(True)
number.set_value(7)
choice.set_value("sorted")
page.run()
assert not page.exception and not page.error
sweep = open_page("sensitivity", s_view="Sweeps", sw_what="Your own grid")
print(json.dumps({
    "label": number.label, "help": number.help, "least": number.min, "most": number.max,
    "options": choice.options, "command": page.code[0].value.splitlines()[0],
    "axes": sweep.selectbox(key="sw_axis_0_macl").options,
}))
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.insert("core/runs/config.py", "    seed: int = Field(", NUMBER + CHOICE + SWITCH)
    return made


def test_options_form_axes_and_the_shown_command_have_it(house: House) -> None:
    helped = " ".join(house.macl("train", "--help").split())
    for words in (
        "--warmup",
        "Epochs of a rising rate (0 to 50; default: 3)",
        "random|sorted",
        "--no-mirror",
    ):
        assert words in helped.replace(" │ │ ", " ")
    root = str(house.folder / "runs")
    swept = ("sweep", "warmup=0:50:6", "order=random,sorted", "mirror=on,off", "--run-root", root)
    house.macl(*swept, "--set", "epochs=1", "--dry-run")
    seen = json.loads(house.python(SEEN).splitlines()[-1])
    assert (seen["label"], seen["least"], seen["most"]) == ("Rise", 0, 50)
    assert seen["help"].startswith("Epochs of a rising rate")
    assert seen["options"] == ["random", "sorted"]
    assert {"warmup", "order", "mirror", "lr", "loss", "alpha"} <= set(seen["axes"])
    assert "--warmup 7 --order sorted --mirror" in seen["command"]
