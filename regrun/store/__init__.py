"""Runs on disk, written so that neither a kill nor a full disk loses one.

| module | responsibility |
| --- | --- |
| `atomic` | atomic file writes, OSError to `StorageError` |
| `run_dir` | layout of a run directory; claiming one |
| `lock` | one writer at a time |
| `metrics` | ``metrics.jsonl`` |
| `tensorboard` | event files, made from metrics |
| `weights`, `checkpoint` | tensors in safetensors files |
| `writer` | everything one run writes |
| `reading` | finding runs and reading them |

Nothing here depends on how runs are trained. Only `weights` and `checkpoint` import torch.
"""
