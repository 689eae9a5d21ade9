"""The benchmark data sets of the GBU release, each a folder below the data root."""

from __future__ import annotations

from zslbench import XLSA17Dataset
from zslbench_datasets.cards import CARDS

SUN = XLSA17Dataset(CARDS["sun"], "SUN")
CUB = XLSA17Dataset(CARDS["cub"], "CUB")
AWA1 = XLSA17Dataset(CARDS["awa1"], "AWA1")
AWA2 = XLSA17Dataset(CARDS["awa2"], "AWA2")
APY = XLSA17Dataset(CARDS["apy"], "APY")
FLO = XLSA17Dataset(CARDS["flo"], "FLO")
