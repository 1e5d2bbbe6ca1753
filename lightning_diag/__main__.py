"""``python -m lightning_diag`` is ``lightning-diag``."""

from lightning_diag.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
