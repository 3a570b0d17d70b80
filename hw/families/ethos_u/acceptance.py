"""Which files Vela makes something of: it takes any, and leaves what is not quantized as it is."""

from __future__ import annotations

from hw.tflite.model import TfliteError, TfliteModel


def check_accepted(model: TfliteModel) -> None:
    """Check that there is something in this file for an Ethos-U.

    Raises:
        TfliteError: It is compiled for an Edge TPU, has open sizes, or nothing in it has 8 bits:
            Vela ends well then, and all ops stay on the processor.
    """
    if model.compiled:
        raise TfliteError(
            f"{model.path}: must be the model before compilation, but got the output of "
            "edgetpu_compiler. Give the .tflite it was made of."
        )
    if model.dynamic:
        raise TfliteError(
            f"{model.path}: sizes must be fixed to run on an Ethos-U, but got an open one in "
            f"{model.dynamic[0]}. Convert with an input of fixed sizes and a batch of 1."
        )
    if not model.quantized:
        what = "8 bits in weights only" if model.hybrid else "none with 8 bits"
        raise TfliteError(
            f"{model.path}: ops must work on int8 or uint8 to run on an Ethos-U, but got {what}: "
            "Vela would leave all of it on the processor. Convert with full integer quantization "
            "(int8)."
        )
