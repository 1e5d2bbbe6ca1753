"""The one place where our own exceptions end."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger("lightning_diag")


@dataclass
class Guard:
    """A part that raises is switched off by its caller and named here, once.

    Attributes:
        strict: raise instead (for tests).
        failed: part -> what it raised.
    """

    strict: bool = False

    def __post_init__(self) -> None:
        self.failed: dict[str, str] = {}

    def tell(self, part: str, error: BaseException) -> None:
        """Note a failure; warns the first time a part fails."""
        if self.strict:
            raise error
        if part not in self.failed:
            self.failed[part] = f"{type(error).__name__}: {error}"
            log.warning("%s failed and is switched off; training goes on. %s", part, self.failed[part])
