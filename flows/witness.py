"""Waits for its owner to end; prints a text unless the owner said goodbye.

``python flows/witness.py TEXT``: the owner holds the other end of standard input and writes one
byte before it ends in good order. Uses the standard library only, and is run by path.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.stdin.buffer.read():
    print(sys.argv[1], file=sys.stderr)
