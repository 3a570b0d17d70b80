"""Shows doctests as examples; an extension of Griffe, which reads the docstrings."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from griffe import Extension, Object

_DOCTEST = re.compile(r"^>>> .*?(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


class DoctestSections(Extension):
    """Puts each doctest that stands in the text into a section of examples."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = _DOCTEST.sub(
                lambda found: "Examples:\n" + textwrap.indent(found[0], "    "),
                obj.docstring.value,
            )
