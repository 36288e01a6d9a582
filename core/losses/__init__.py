"""The losses: LOSSES and `known` describe them without torch, make_loss builds one."""

from core.losses.catalog import LOSSES
from core.losses.make import check_params, make_loss
from core.losses.own import known, spec_of
from core.losses.parameters import LossSpec, Parameter, Value

__all__ = ["LOSSES", "LossSpec", "Parameter", "Value", "check_params", "known", "make_loss", "spec_of"]
