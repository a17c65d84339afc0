"""The floating-point types of `training.precision`."""

from __future__ import annotations

import torch

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""`training.precision` → dtype of the parameters; bfloat16 is autocast over float32."""
