"""Ready-made sweeps: the paper's Figs. 9 to 11 and Table 7, and MACL's open points one at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.losses import LOSSES, Value
from core.sweep import Point, Sweep, grid, listed

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
        title: For people.
        note: What it does, and what of it is a reading of the paper.
        build: From preset, shared fields, seeds.
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
    places: list[dict[str, Value]] = []
    for loss, spec in LOSSES.items():
        names = {parameter.name for parameter in spec.parameters}
        for tau in TAUS:
            if loss in MACL:  # eq. 4 has no τ: a factor on T that is 1 at the paper's 0.3 stands for it
                value: dict[str, Value] = {"tau_scale": round(tau / TAUS[-1], 6)}
            elif "tau" in names:
                value = {"tau": tau}
            else:
                continue  # OML ranks, it has no softmax
            places += [{"loss": loss, **value, "seed": seed} for seed in seeds]
    return _at_tau(listed(STUDIES["fig10"].title, preset, fields, places, STUDIES["fig10"].note))


def _at_tau(sweep: Sweep) -> Sweep:
    """The same sweep with τ as one axis for all losses."""
    points = []
    for point in sweep.points:
        at = dict(point.at)
        tau = at.pop("tau", None)
        scale = at.pop("tau_scale", None)
        at["tau"] = tau if tau is not None else round(float(scale or 1) * TAUS[-1], 6)
        points.append(Point(at, point.config))
    axes = {name: values for name, values in sweep.axes.items() if name not in ("tau", "tau_scale")}
    return Sweep(sweep.id, sweep.title, sweep.note, {**axes, "tau": TAUS}, tuple(points))


def _rates(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
    study = STUDIES["fig11"]
    return grid(study.title, preset, fields, {"loss": MACL, "lr": RATES, "seed": list(seeds)}, study.note)


def _pretrained(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
    study = STUDIES["table7"]
    axes: dict[str, Sequence[Value]] = {"loss": MACL, "weights": ("imagenet", "none"), "seed": list(seeds)}
    return grid(study.title, preset, {"backbone": "resnet18", "trainable": "all", **fields}, axes, study.note)


def _open_points(preset: str, fields: Mapping[str, Any], seeds: Sequence[int]) -> Sweep:
    changed: list[tuple[str, dict[str, Value]]] = [("as printed", {})]
    for parameter in LOSSES["macl"].parameters:
        if parameter.kind == "bool":
            changed.append(
                (f"{parameter.name}={not parameter.default}", {parameter.name: not parameter.default})
            )
        elif parameter.kind == "choice":
            others = [choice for choice in parameter.choices if choice != parameter.default]
            changed += [(f"{parameter.name}={choice}", {parameter.name: choice}) for choice in others]
        elif parameter.name == "tau_scale":
            changed += [(f"tau_scale={value:g}", {"tau_scale": value}) for value in (0.3, 0.5)]
    study = STUDIES["open-points"]
    points, axes = [], tuple(name for name, _ in changed)
    for name, values in changed:
        one = grid(study.title, preset, {"loss": "macl", **fields, **values}, {"seed": list(seeds)})
        points += [Point({"change": name, **point.at}, point.config) for point in one.points]
    return Sweep("", study.title, study.note, {"change": axes, "seed": tuple(seeds)}, tuple(points))


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
        "What the paper leaves open, each changed alone against MACL as printed.",
        _open_points,
    ),
}
