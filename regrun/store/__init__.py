"""Runs on disk: written so that no kill and no full disk loses one, and read back.

| module | what it knows |
| --- | --- |
| `atomic` | whole files or none, and what the operating system's errors mean |
| `run_dir` | where things lie in a run directory; claiming one |
| `lock` | one writer at a time |
| `metrics` | ``metrics.jsonl``, the truth |
| `tensorboard` | event files, made from metrics |
| `weights`, `checkpoint` | tensors in safetensors files |
| `writer` | all that one run writes |
| `reading` | finding runs and reading them |

Nothing here knows how runs are trained. Only `weights` and `checkpoint` import torch.
"""
