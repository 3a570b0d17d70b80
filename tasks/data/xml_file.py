"""XML files in whatever encoding they say they are in, and nothing of XML but the data it holds.

Expat knows UTF-8, UTF-16, Latin-1 and encodings of one byte; labelling tools of the Far East write
gb2312, Big5 or Shift JIS. So the text is decoded here.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tasks.data.dataset import DataError

_DECLARED: Final = re.compile(
    rb"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["'][^>]*\?>"""
)
_WIDER: Final = {"gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932"}
"""Supersets of encodings: what is written under the narrow name is often of the wide one."""


def read_xml(path: Path) -> Element:
    """The root element of an XML without DOCTYPE.

    Raises:
        DataError: It has one, is no XML, is in another encoding than it says or in one that nobody
            knows, or cannot be opened.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} must be a readable file, but got: {error.strerror}.") from error

    def refuse(*_: object) -> None:
        raise DataError(f"{path.name} must be XML without a DOCTYPE, but has one.")

    content = content.removeprefix(codecs.BOM_UTF8)
    declared = _DECLARED.match(content)
    if declared:
        content = _as_utf8(path, content, declared)
    # Without a readable declaration it is UTF-8, or UTF-16, which Expat tells by its first bytes.
    builder, parser = TreeBuilder(), expat.ParserCreate("utf-8" if declared else None)
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError(
            f"{path.name} must be XML, but got: {error}. If it is, save it as UTF-8, or name its "
            "encoding in the first line."
        ) from error
    return builder.close()


def _as_utf8(path: Path, content: bytes, declared: re.Match[bytes]) -> bytes:
    """What stands behind the declaration.

    Raises:
        DataError: There is no such encoding, or the text is not in it.
    """
    name = declared[1].decode()
    try:
        known = codecs.lookup(name).name
        if known.startswith(("utf-16", "utf-32")):  # the declaration itself could not be read then
            known = "utf-8"
        return content[declared.end() :].decode(_WIDER.get(known, known)).encode()
    except (LookupError, UnicodeError) as error:
        raise DataError(
            f"{path.name} must be in the encoding that its first line names, but got {name!r} "
            f"and: {error}. Save it as UTF-8."
        ) from error
