from __future__ import annotations

import logging
import os
import warnings

import pytest

from lightning_diag.demo.quiet import TALKERS, quiet


def test_it_mutes_and_puts_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_SILENT", raising=False)
    levels = [logging.getLogger(name).level for name in TALKERS]
    with pytest.raises(KeyError), quiet():  # noqa: PT012 - what is tested is what an error leaves behind
        warnings.warn("not heard", UserWarning, stacklevel=1)
        assert not logging.getLogger("lightning.pytorch").isEnabledFor(logging.INFO)
        assert os.environ["WANDB_MODE"] == "offline"
        os.environ["WANDB_MODE"] = "dryrun"  # as WandbLogger does
        raise KeyError
    assert os.environ["WANDB_MODE"] == "online"
    assert "WANDB_SILENT" not in os.environ
    assert [logging.getLogger(name).level for name in TALKERS] == levels
    with pytest.warns(UserWarning, match="heard again"):
        warnings.warn("heard again", UserWarning, stacklevel=1)
