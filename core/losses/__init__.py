"""The 13 losses: LOSSES describes them without torch, make_loss builds one."""

from core.losses.catalog import LOSSES, check_params, make_loss
from core.losses.parameters import LossSpec, Parameter, Value

__all__ = ["LOSSES", "LossSpec", "Parameter", "Value", "check_params", "make_loss"]
