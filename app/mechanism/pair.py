"""One pair term by term as HTML: the formulas of eqs. 1, 2 and 7 with the pair's own numbers in them."""

from collections.abc import Mapping, Sequence
from html import escape

from app.mechanism.batch import Source
from core.labels import counts
from core.losses import Value
from core.losses.rarity import anchor_counts, pair_counts
from core.mechanism import LABELWISE, Batch, Maps, label_parts, written

STYLE = """<style>
.pair table { border-collapse: collapse; width: 100%; font-size: .88rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
.pair th, .pair td { border: 0; padding: .22rem .7rem .22rem 0; text-align: left; vertical-align: baseline; }
.pair tr + tr > * { border-top: 1px solid color-mix(in srgb, currentColor 12%, transparent); }
.pair th { font-weight: 600; white-space: nowrap; }
.pair .value { text-align: right; font-weight: 600; white-space: nowrap; padding-right: 0; }
.pair .part th { font-weight: 400; padding-left: 1rem; }
.pair .part .value { font-weight: 400; }
.pair .sum > * { border-top: 2px solid color-mix(in srgb, currentColor 45%, transparent); }
.pair i { font-family: serif; }
</style>"""

_SHARED = {
    "support": "{split} images with {both}",
    "mean": "mean {split} count of {both}",
    "min": "smallest {split} count of {both}",
    "sum": "sum of the {split} counts of {both}",
    "matrix": "mean co-occurrence of the anchor's and the other's labels",
}
_RARE = {
    "mean": "mean {split} count of the anchor's labels, {counts}",
    "min": "smallest {split} count of the anchor's labels, {counts}",
    "sum": "sum of the {split} counts of the anchor's labels, {counts}",
    "support": "{split} images with all of the anchor's labels",
}
_FOUND = {
    "": "−∂L/∂s",
    "autograd": "−∂L/∂s by automatic differentiation",
    "pull-back": "from −∂L/∂z, shared equally between the two anchors",
}
_NONE = ": none, counted as 1"  # the loss needs a count that is at least 1


def number(x: float) -> str:
    """Four significant digits."""
    if x == 0:
        return "0"
    text = f"{x:.4g}" if 1e-4 <= abs(x) < 1e6 else f"{x:.3e}"
    return text.replace("-", "−")


def terms(
    key: str, batch: Batch, maps: Maps, params: Mapping[str, Value], source: Source, i: int, p: int
) -> str:
    """The terms of anchor i and image p as a table; for MACL label by label as in Fig. 3.

    Args:
        key: The loss.
        batch: The images.
        maps: Their maps under the loss.
        params: All parameters of the loss.
        source: Where the batch comes from, for the label names and for what is counted.
        i: Row of the anchor.
        p: Row of the other image.
    """
    y = batch.y.astype(bool)
    shared = [name for name, has in zip(source.classes, y[i] & y[p], strict=True) if has]
    union = int((y[i] | y[p]).sum())
    value = {name: float(array[i, p]) for name, array in maps.values.items() if maps.images}
    lines = [
        _line("J", f"{len(shared)} shared of {union} labels", value.get("J", 0.0)),
    ]
    if maps.terms:
        lines += _macl(batch, maps, params, source, shared, i, p)
    elif maps.images:
        lines += _other(key, value, len(batch.y))
    lines += _force(key, batch, maps, params, value, i)
    return f'<div class="pair">{STYLE}<table><tbody>{"".join(lines)}</tbody></table></div>'


def _macl(
    batch: Batch,
    maps: Maps,
    params: Mapping[str, Value],
    source: Source,
    shared: Sequence[str],
    i: int,
    p: int,
) -> list[str]:
    terms, unit = maps.terms, " ÷ N" if params["frequency"] == "share" else ""
    assert terms is not None
    count = counts(batch.labels)[batch.y[i].astype(bool)]
    summands = " + ".join(f"{c:,}" for c in count)
    f, h, J, w, T = (
        float(v) for v in (terms.f[i, p], terms.h[i], terms.J[i, p], terms.w[i, p], terms.T[i, p])
    )
    lines = []
    both, split, sets = escape(", ".join(shared)), source.counted, batch.y[[i, p]]
    if shared:
        how = str(params["cooccurrence"])
        none = "" if pair_counts(batch.labels, sets, how)[0, 1] else _NONE
        lines.append(_line("f", _SHARED[how].format(both=both, split=split) + none + unit, f))
    how = str(params["rarity"])
    none = "" if anchor_counts(batch.labels, sets, how)[0] else _NONE
    lines.append(_line("h", _RARE[how].format(counts=summands, split=split) + none + unit, h))
    if not shared:
        lines.append(_line("w", "no shared label: no positive pair", 0.0))
    elif not params["use_w"]:
        lines.append(_line("w", "w is off" + _extras(params), w))
    else:
        eps = float(params["eps"])
        lines.append(_line("w", f"1 / (log(1 + {number(f)}) + {eps:g}){_extras(params)}", w, "eq. 1"))
    if params["use_T"]:
        scale = float(params["tau_scale"])
        formula = (
            f"exp(−{number(float(params['alpha']))} · {number(J)}) + "
            f"{number(float(params['beta']))} / log(1 + {number(h)})"
        )
        lines.append(_line("T", formula if scale == 1 else f"{number(scale)} · ({formula})", T, "eq. 2"))
    else:
        lines.append(_line("T", "T is off: τ", T))
    if shared and i != p:
        lines.append(_line("γ", f"w / T = {number(w)} / {number(T)}", w / T))
        for part in label_parts(batch.y, terms, i, p):
            name, n = escape(source.classes[part.label]), part.positives
            formula = f"|P| = {n:d} images with {name}: w/|P| = {number(part.weight)}, γ/|P| ="
            lines.append(_line(f"γ for {name}", formula, part.pull, kind="part"))
    return lines


def _extras(params: Mapping[str, Value]) -> str:
    return (" · J" if params["overlap_weight"] else "") + (" ÷ mean w" if params["normalize_w"] else "")


def _other(key: str, value: Mapping[str, float], size: int) -> list[str]:
    lines = []
    if not written(key):
        if "w" in value:
            lines.append(_line("w", "as the loss's own pair_terms gives it", value["w"]))
        if "T" in value:
            lines.append(_line("T", "as the loss's own pair_terms gives it", value["T"]))
        if "gamma" in value:
            formula = f"w / T = {number(value['w'])} / {number(value['T'])}"
            lines.append(_line("γ", formula, value["gamma"]))
        return lines
    if key in ("mulsupcon", "wg_mulsupcon"):
        lines.append(_line("w", "1 for every pair with a shared label", value["w"]))
    else:
        lines.append(_line("w", f"factor of the pair in the loss, times B = {size}", value["w"]))
    if "T" in value:
        lines.append(_line("T", "one τ for all pairs", value["T"]))
        lines.append(_line("γ", f"w / T = {number(value['w'])} / {number(value['T'])}", value["gamma"]))
    return lines


def _force(
    key: str, batch: Batch, maps: Maps, params: Mapping[str, Value], value: Mapping[str, float], i: int
) -> list[str]:
    if "force" not in value:
        return [_line("s", "similarity in the run's embedding", value["s"])] if "s" in value else []
    force, lines = value["force"], [_line("s", "similarity in the run's embedding", value["s"])]
    if "pull" in value:
        pull = value["pull"]
        mean, size, labels = "", len(batch.y), int(batch.y.sum())
        if key in LABELWISE:
            weighted = key in ("wg_macl", "wg_mulsupcon")
            mean = (
                f" / ({int(batch.y[i].sum())} · {size})" if weighted else f" / {labels} labels in the batch"
            )
        how = f"sum of γ/|P|{mean}" if mean else "w/T, over B"
        lines.append(_line("pull", how if pull else "none: no positive", pull, kind="sum"))
        push, T = pull - force, value["T"]
        whole = float((maps.values["pull"][i] * maps.values["T"][i]).sum())
        how = "of the softmax"
        if whole and key != "lreg" and params.get("denominator") != "own":
            how = f"W · p / T = {number(whole)} · {number(push * T / whole)} / {number(T)}"
        lines.append(_line("push", how, push))
        lines.append(_line("force", "pull − push = −∂L/∂s", force))
    else:
        lines.append(_line("force", _FOUND[maps.how], force, kind="sum"))
    if "printed" in value:
        lines.append(_line("as printed", "eq. 7 with |y| in the repulsion", value["printed"], kind="part"))
    return lines


def _line(symbol: str, formula: str, value: float, source: str = "", kind: str = "") -> str:
    note = f' <span style="opacity:.75">({source})</span>' if source else ""
    cells = f'<th scope="row">{symbol}</th><td>{formula}{note}</td>'
    return f'<tr class="{kind}" data-term="{symbol}">{cells}<td class="value">{number(value)}</td></tr>'
