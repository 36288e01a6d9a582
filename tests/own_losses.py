"""Texts of losses that a person may bring."""

MARGIN = '''\
import torch
from torch import nn


class Margin(nn.Module):
    """Pull pairs that share labels, push the others beyond a margin.

    Args:
        margin: Cosine below which a negative costs nothing, −1 … 1.
        squared: Square the hinge.
    """

    def __init__(self, labels, dim, margin: float = 0.2, squared: bool = True):
        super().__init__()
        self.margin, self.squared = margin, squared

    def forward(self, z, y):
        s, share = z @ z.T, y @ y.T > 0
        other = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
        push = (s - self.margin).clamp(min=0)
        if self.squared:
            push = push.square()
        positive, negative = share & other, ~share & other
        pull = ((1 - s) * positive).sum() / positive.sum().clamp(min=1)
        return pull + (push * negative).sum() / negative.sum().clamp(min=1)
'''


def own(
    forward: str = "return (z @ z.T * (1 - y @ y.T)).mean()",
    *,
    name: str = "Mine",
    init: str | None = "",
    doc: str = "A loss.",
    head: str = "",
    body: str = "pass",
    tail: str = "",
) -> str:
    """A file with one class: the statements of `forward`, the arguments and statements of `__init__`."""
    made = (
        ""
        if init is None
        else f"    def __init__(self, {init}):\n        super().__init__()\n        {body}\n\n"
    )
    documented = "" if init is None else f'    """{doc}"""\n\n'
    return (
        f"{head}\nimport torch\nfrom torch import nn\n\n\nclass {name}(nn.Module):\n{documented}{made}"
        f"    def forward(self, z, y):\n        {forward}\n\n{tail}"
    )
