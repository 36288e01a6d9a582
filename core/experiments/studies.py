"""Ready-made sweeps: the paper's Figs. 9 to 11 and Table 7, and MACL's open points one at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.experiments.sweep import Point, Sweep, build, grid
from core.losses import Value, known, spec_of

MACL = ("macl", "wg_macl")
ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
BETAS = (0.0, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
TAUS = (0.1, 0.2, 0.3)
RATES = (0.1, 0.01, 0.001)
NO_IMAGENET = (
    "The half with pretrained weights needs torchvision's ImageNet weights of ResNet-18: its runs fail with "
    "the reason where they are neither there nor to be had."
)


@dataclass(frozen=True)
class Study:
    """A ready-made sweep.

    Attributes:
        title: Title for people.
        note: What it does, and which part is our reading of the paper.
        build: Builds the sweep from preset, shared fields, seeds.
        preset: The only preset it makes sense with; empty: any.
    """

    title: str
    note: str
    build: Callable[[str, Mapping[str, Any], Sequence[int]], Sweep]
    preset: str = ""


def _surface(title: str, note: str, **switches: Value) -> Study:
    def build(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
        shared = {"loss": "macl", **fields, **switches}
        return grid(title, preset, shared, {"alpha": ALPHAS, "beta": BETAS, "seed": list(seeds)}, note)

    return Study(title, note, build)


def _curve(title: str, note: str, axis: str, values: Sequence[Value], **switches: Value) -> Study:
    def build(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
        shared = {"loss": "macl", **fields, **switches}
        return grid(title, preset, shared, {axis: values, "seed": list(seeds)}, note)

    return Study(title, note, build)


def _temperatures(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
    points = []
    for loss, spec in known().items():
        names = {parameter.name for parameter in spec.parameters}
        for tau in TAUS:
            if loss in MACL:  # eq. 4 has no τ: a factor on T that is 1 at the paper's 0.3 stands for it
                value: dict[str, Value] = {"tau_scale": round(tau / TAUS[-1], 6)}
            elif "tau" in names:
                value = {"tau": tau}
            else:
                continue  # OML ranks, it has no softmax
            for seed in seeds:
                config = build(preset, {**fields, "loss": loss, **value, "seed": seed})
                points.append(Point({"loss": loss, "seed": seed, "tau": tau}, config))
    study, losses = STUDIES["fig10"], tuple(dict.fromkeys(str(point.at["loss"]) for point in points))
    axes: dict[str, tuple[Value, ...]] = {"loss": losses, "seed": tuple(seeds), "tau": TAUS}
    return Sweep("", study.title, study.note, axes, tuple(points))


def _rates(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
    study = STUDIES["fig11"]
    return grid(study.title, preset, fields, {"loss": MACL, "lr": RATES, "seed": list(seeds)}, study.note)


def _pretrained(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
    study = STUDIES["table7"]
    axes: dict[str, Sequence[Value]] = {"loss": MACL, "weights": ("imagenet", "none"), "seed": list(seeds)}
    return grid(study.title, preset, {"backbone": "resnet18", "trainable": "all", **fields}, axes, study.note)


def _open_points(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
    parameters = spec_of("macl").parameters
    shared = {p.name: fields.get(p.name, p.default) for p in parameters}
    non_defaults = [f"{p.name}={_text(shared[p.name])}" for p in parameters if shared[p.name] != p.default]
    changed: list[tuple[str, dict[str, Value]]] = [(", ".join(non_defaults) or "as printed", {})]
    for parameter in parameters:
        choices: Sequence[Value] = ()
        if parameter.kind == "bool":
            choices = (False, True)
        elif parameter.kind == "choice":
            choices = parameter.choices
        elif parameter.name == "tau_scale":
            choices = (0.3, 0.5)
        others = [choice for choice in choices if choice != shared[parameter.name]]
        changed += [(f"{parameter.name}={_text(choice)}", {parameter.name: choice}) for choice in others]
    study = STUDIES["open-points"]
    points, axes = [], tuple(name for name, _ in changed)
    for name, values in changed:
        one = grid(study.title, preset, {"loss": "macl", **fields, **values}, {"seed": list(seeds)})
        points += [Point({"change": name, **point.at}, point.config) for point in one.points]
    return Sweep("", study.title, study.note, {"change": axes, "seed": tuple(seeds)}, tuple(points))


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


STUDIES: dict[str, Study] = {
    "fig9a": _surface(
        "Fig. 9 (a): α and β, T only",
        "MACL without w: only the temperatures of eq. 2.",
        use_w=False,
        use_T=True,
    ),
    "fig9b": _surface("Fig. 9 (b): α and β, w and T", "MACL as printed.", use_w=True, use_T=True),
    "fig9c": _curve(
        "Fig. 9 (c): w with α", "β = 0: T falls with the overlap alone.", "alpha", ALPHAS, beta=0.0
    ),
    "fig9d": _curve(
        "Fig. 9 (d): w with β", "α = 0: T rises with rare labels alone.", "beta", BETAS, alpha=0.0
    ),
    "fig10": Study(
        "Fig. 10: τ of every loss",
        "Eq. 4 has no τ: for MACL and Wg-MACL a factor τ/0.3 on T stands for it (tau_scale). OML has none.",
        _temperatures,
    ),
    "fig11": Study("Fig. 11: learning rate", "MACL and Wg-MACL at 0.1, 0.01 and 0.001.", _rates),
    "table7": Study("Table 7: pretrained or not", NO_IMAGENET, _pretrained, preset="paper"),
    "open-points": Study(
        "MACL's open points, one at a time",
        "What the paper leaves open, each changed alone against MACL as printed, or as set for all runs.",
        _open_points,
    ),
}
