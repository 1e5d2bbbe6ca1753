"""Docstrings hold Sphinx roles, which editors show well; the site shows their last name as code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):`~?([^`]+)`")


def plain(text: str) -> str:
    """Return the text with roles as code.

    >>> plain("a :class:`~lightning_diag.finding.Finding` or :meth:`update`")
    'a `Finding` or `update`'
    """
    return _ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", text)


class Roles(Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)
