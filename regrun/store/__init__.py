"""Runs on disk, written so that neither a kill nor a full disk loses one.

Nothing here depends on how runs are trained. Only `weights` and `checkpoint` import torch.
"""
