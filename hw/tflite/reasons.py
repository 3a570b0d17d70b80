"""Why ops stay on the host whatever the accelerator, in the words of Google's compiler."""

from __future__ import annotations

NOT_SUPPORTED = "Operation not supported"
DATA_TYPE = "Operation is working on an unsupported data type"
UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
NO_CONSTANTS = f"{UNSPECIFIED}: its weights are no constants"
