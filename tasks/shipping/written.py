"""Examples as people get them: one file each, of those in ``examples/``."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tasks.learning.interpreter import Signature

FOLDER: Final = Path(__file__).with_name("examples")
_ANDROID: Final = Path(__file__).with_name("android")
_OF_PICTURES: Final = ("height", "width", "channels", "fit")
_ROOM: Final = "tasks.shipping.examples."
_OTHER: Final = "tensors"
"""The example of a problem that has none of its own."""


def example(problem: str) -> str:
    """The example of a problem as one file that imports nothing of the project."""
    name = problem if (FOLDER / f"{problem}.py").is_file() else _OTHER
    imports: set[str] = set()
    bodies: list[str] = []
    doc = _collect(name, imports, bodies, set())
    first = sorted(line for line in imports if line.startswith("import "))
    rest = sorted(imports.difference(first))
    head = [f'"""{doc}"""', "from __future__ import annotations", "\n".join([*first, *rest])]
    return "\n\n".join(head) + "\n\n\n" + "\n\n\n".join(bodies) + "\n"


def _collect(name: str, imports: set[str], bodies: list[str], seen: set[str]) -> str:
    """Add what a module imports and holds, after the modules beside it; gives its docstring."""
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    tree = ast.parse(source)
    last = 1
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(_ROOM):
            beside = str(node.module).removeprefix(_ROOM)
            if beside not in seen:
                seen.add(beside)
                _collect(beside, imports, bodies, seen)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if getattr(node, "module", "") != "__future__":
                imports.add(ast.unparse(node))
        elif not isinstance(node, ast.Expr) or node is not tree.body[0]:
            break
        last = node.end_lineno or last
    bodies.append("\n".join(source.splitlines()[last:]).strip())
    return ast.get_docstring(tree, clean=False) or ""


def for_android(signature: Signature, reading: Mapping[str, Any]) -> str:
    """An example in Kotlin, of a file with a picture or tokens as its ``input``."""
    inputs = signature.inputs
    asked = inputs["input" if len(inputs) == 1 else "mask"]
    scale, zero_point = asked["quantization"]
    values = {
        "SCALE": f"{scale:.9g}",
        "ZERO_POINT": str(zero_point),
        "OUTPUTS": "\n".join(_output(name, one) for name, one in signature.outputs.items()),
    }
    if len(inputs) == 1:
        template = "pictures"
        values |= {name.upper(): str(reading[name]) for name in _OF_PICTURES}
    else:
        template = "texts"
        values |= {"LENGTH": str(inputs["input"]["shape"][-1])}
        values |= {"TYPES": str("types" in inputs).lower()}
    text = (_ANDROID / f"{template}.kt").read_text("utf-8")
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], text)


def _output(name: str, details: Mapping[str, Any]) -> str:
    scale, zero_point = details["quantization"]
    size = math.prod(int(one) for one in details["shape"])
    return f'            Output("{name}", {size}, {scale:.9g}f, {zero_point}),'
