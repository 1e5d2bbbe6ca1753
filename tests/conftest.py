"""Settings of every test."""

from __future__ import annotations

import torch

torch.set_num_threads(1)  # small tensors on busy cores: threads only wait for each other
