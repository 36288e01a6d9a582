"""Names for people: runs, data sets, presets and states read the same on every page."""

from core.data import DATASETS
from core.errors import MaclError
from core.losses import LOSSES
from core.report import method_name
from core.runs import Run, RunConfig

PRESET_TITLES = {
    "instant": "instant: frozen ImageNet features, only the head is trained; seconds",
    "quick": "quick: ResNet-18 from scratch at 96 px; minutes",
    "paper": "paper: ResNet-18 from ImageNet at 256 px, 100 epochs; a GPU's work",
}
STATES = (
    "queued",
    "running",
    "stopping",
    "stopped",
    "finished",
    "failed",
    "interrupted",
    "recorded",
)


def run_label(run: Run) -> str:
    """The person's own name for a run, else method, data set, preset and seed."""
    title = run.title
    if title:
        return title
    try:
        return config_label(run.config)
    except MaclError:  # a folder that an older or newer version wrote
        return run.id


def config_label(config: RunConfig) -> str:
    """Method with its changed parameters, data set, preset and seed."""
    return f"{method(config)} · {dataset_title(config.dataset)} · {config.preset} · seed {config.seed}"


def method(config: RunConfig) -> str:
    """Title of the loss with the parameters that differ from their defaults, by their symbols."""
    name = method_name(config)
    head, separator, changed = name.partition(" (")
    if not separator:
        return name
    symbols = {p.name: p.symbol for p in LOSSES[config.loss].parameters if p.symbol}
    parts = [part.partition("=") for part in changed.removesuffix(")").split(", ")]
    return f"{head} ({', '.join(f'{symbols.get(key, key)}={value}' for key, _, value in parts)})"


def dataset_title(name: str) -> str:
    """Title of a data set, short enough for a table cell."""
    return DATASETS[name].title if name in DATASETS else name


def state_word(run: Run, state: str | None = None) -> str:
    """One of `STATES`; `state` spares a second look at the folder where it is known already."""
    if run.recorded:
        return "recorded"
    state = state or run.state
    return "stopping" if state == "running" and (run.path / "stop").exists() else state
