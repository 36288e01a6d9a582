"""Two distributions that explain MACL: which labels gain, and which similarity the loss asks for."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from app.figures import mechanism as figures
from app.kit.palette import loss_color
from app.kit.steady import steady_chart
from app.kit.words import plain
from app.mechanism.batch import Chosen
from core import mechanism
from core.labels import counts
from core.losses import LOSSES, Value, spec_of
from core.mechanism import MACL, Answer

ANCHORS = 64  # whose optimum is computed; more take longer than a person waits for a slider
HINT = "MACL is at its defaults here: choose it as the loss to move it."


def gains(
    chosen: Chosen, key: str, params: Mapping[str, Value], answer: Answer | None, started: float
) -> None:
    """Share of each label in the attraction: MulSupCon, w alone, MACL, and a loss that tells its weights."""
    batch, weighted = chosen.batch, key == "wg_macl"
    own, hint = _macl(key, params)
    values = mechanism.maps("macl", batch, own).values
    alone = mechanism.maps("macl", batch, {**own, "use_T": False}).values["gamma"]
    title, (w, T) = LOSSES["wg_macl" if weighted else "macl"].title, _terms(own)
    methods = [
        (
            loss_color("mulsupcon"),
            f"{'Wg-' if weighted else ''}MulSupCon: w = 1, one τ",
            (values["w"] > 0).astype(float),
        ),
        (loss_color("macl", {"use_T": False}), f"{w}, one τ", alone),
        (loss_color("macl"), f"{title}: {w} and {T}", values["gamma"]),
    ]
    head = ["label", f"{chosen.source.counted}_images", "mulsupcon", "w_alone", "macl"]
    if not mechanism.written(key):
        asked = mechanism.maps(key, batch, params, answer).values
        name = next((name for name in ("gamma", "w") if name in asked), "")
        st.caption(_about_own(key, name) if answer is not None else "This tab is about MACL at its defaults.")
        if name:
            methods.append((loss_color(key, params), spec_of(key).title, asked[name]))
            head.append(key)
    train = counts(batch.labels)
    order = [n for n in np.argsort(train, kind="stable").tolist() if batch.y[:, n].sum() > 1]
    classes = [chosen.source.classes[n] for n in order]
    shares = [mechanism.label_shares(batch.y, gamma, weighted)[order] for _, _, gamma in methods]
    st.markdown(_gained(len(classes), shares, w, T))
    bars = [(name, color, share) for (color, name, _), share in zip(methods, shares, strict=True)]
    steady_chart(
        figures.label_shares(classes, [int(train[n]) for n in order], bars, chosen.source.counted),
        "m_label_shares",
        "Share of each label in the attraction: MulSupCon, w alone, MACL",
    )
    st.caption(f"A label's attraction: the sum of γ/|P| over its anchors and their positives here. {hint}")
    images = [int(train[n]) for n in order]
    st.download_button(
        "CSV", lambda: mechanism.table_csv(head, [classes, images, *shares]), "label-shares.csv", "text/csv",
        on_click="ignore",
    )  # fmt: skip


def _about_own(key: str, name: str) -> str:
    """What the tab shows of a loss that has no numpy form."""
    title = plain(spec_of(key).title)
    if not name:
        return f"{title} does not say its weights (`pair_terms`): this tab is about MACL at its defaults."
    weight = "w/T" if name == "gamma" else "w"
    return f"{title}: its own {weight} in the place of MACL's γ, averaged over the positives in the same way."


def _gained(count: int, shares: Sequence[np.ndarray], w: str, T: str) -> str:
    rare = count // 2
    even, alone, both = (100 * float(values[:rare].sum()) for values in shares[:3])
    return (
        f"The {rare} rarer of the batch's {count} labels hold **{even:.1f} %** of the attraction with "
        f"MulSupCon, **{alone:.1f} %** with {w} and one τ, **{both:.1f} %** with {w} and {T}."
    )


def optima(
    chosen: Chosen, key: str, params: Mapping[str, Value], answer: Answer | None, started: float
) -> None:
    """Similarity at the optimum as a function of J: one τ, eq. 4, and `own`."""
    if not mechanism.written(key):
        st.caption(
            f"{plain(spec_of(key).title)} has no optimum that could be written down: this tab is about MACL, "
            "at its defaults, and MACL-nested."
        )
    batch, name = chosen.batch, key if key in MACL else "macl"
    own, hint = _macl(key, params)
    w, T = _terms(own)
    even = {**own, "use_T": False, "use_w": False, "overlap_weight": False}
    curves = []
    for title, color, settings, mode in (
        ("w = 1 and one τ (MulSupCon)", loss_color("mulsupcon"), even, False),
        (f"{w} and {T} as in eq. 4", loss_color("macl"), own, False),
        (f"{w} and {T}, own", loss_color("macl", {"denominator": "own"}), own, True),
    ):
        made = mechanism.factors(name, batch.y, batch.labels, settings)
        assert made.terms is not None
        J, T_of = made.terms.J[:ANCHORS], made.terms.T[:ANCHORS]
        curves.append((title, color, mechanism.optimal_similarities(made.weights[:ANCHORS], T_of, mode)))
    curves.append(_nested(batch, params if key == "macl_nested" else {}))
    one_tau, eq4, each_own, nested = (s for _, _, s in curves)
    st.markdown(_verdict(J, eq4, each_own))
    steady_chart(
        figures.asked(J, curves),
        "m_similarity_asked",
        "Similarity at the optimum over the overlap of the label sets",
    )
    st.caption(
        f"For {len(J)} anchors the similarities to their positives that make the anchor's loss smallest, "
        "each free between −1 and 1; negatives are at −1. MACL-nested, which compares a positive only with "
        "images that share less, asks for their order. Between the bounds eq. 4 has s = T · (log(share of "
        "the weight) + C): a small T draws s towards 0, whatever the overlap. An embedding has to fit all "
        f"anchors at once; this is what each of them pulls towards. {hint}"
    )
    i, p = np.nonzero(np.isfinite(eq4))
    names = np.asarray(chosen.names)
    head = ["anchor", "positive", "J", "s_one_tau", "s_eq4", "s_own", "s_nested"]
    similarities = [s[i, p] for s in (one_tau, eq4, each_own, nested)]
    table = [names[i].tolist(), names[p].tolist(), J[i, p], *similarities]
    st.download_button(
        "CSV", lambda: mechanism.table_csv(head, table), "asked.csv", "text/csv", on_click="ignore"
    )


def _nested(batch: mechanism.Batch, params: Mapping[str, Value]) -> tuple[str, str, np.ndarray]:
    """Name, colour and optimum of the loss with nested comparison sets."""
    settings = LOSSES["macl_nested"].check(params)
    w = mechanism.factors("macl_nested", batch.y, batch.labels, settings).weights
    tau = float(settings["tau"])
    if mechanism.is_nested(settings):
        s = mechanism.nested_optimum(batch.y, w, tau, min(ANCHORS, len(w)))
    else:
        s = mechanism.optimal_similarities(w[:ANCHORS], np.full_like(w[:ANCHORS], tau), own=False)
    return "MACL-nested", loss_color("macl_nested"), s


def _verdict(J: np.ndarray, eq4: np.ndarray, own: np.ndarray) -> str:
    """Exact matches against partial ones, under both readings of eq. 4's denominator."""
    exact, part = J > 0.999, (J > 0.4) & (J < 0.7)
    means = []
    for s in (eq4, own):
        if not (np.isfinite(s[exact]).any() and np.isfinite(s[part]).any()):
            return "This batch holds too few equal or half equal label sets to compare; draw a larger one."
        means.append((float(np.nanmean(s[exact])), float(np.nanmean(s[part]))))
    (a, b), (c, d) = means
    tail = "**less** than" if a < b else "more than"
    return (
        f"Eq. 4 is smallest where images with the same labels (J = 1) have s = **{a:.2f}** and those with J "
        f"between 0.4 and 0.7 have {b:.2f}: it asks {tail} of partial matches. With a positive's own T over "
        f"all images (`own`) it is **{c:.2f}** against {d:.2f}."
    )


def _terms(own: Mapping[str, Value]) -> tuple[str, str]:
    """The weight and the temperature as they are set, in words."""
    weight = "w" if own["use_w"] or own["overlap_weight"] else "w = 1"
    return weight, "T" if own["use_T"] else "one τ"


def _macl(key: str, params: Mapping[str, Value]) -> tuple[dict[str, Value], str]:
    """MACL's parameters, those of the widgets or the defaults, and what to say of it."""
    if key in MACL:
        return dict(params), ""
    return {p.name: p.default for p in LOSSES["macl"].parameters}, HINT
