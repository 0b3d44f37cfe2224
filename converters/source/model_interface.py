"""Describes the input and outputs of a model, which connect it with the recipe's tensor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eaves.errors import ConversionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """Input and outputs of a model; the defaults are those of a run, which needs no adaptation.

    Attributes:
        input: Name of the input; empty means the only one.
        logits: Name of the output with logits; empty if there is none.
        probabilities: Name of the output with probabilities; empty if there is none.
        output_is: Content of the only output if no output is named: `logits` or `probabilities`.
        features: Name of the output with features; empty if they aren't wanted.
        multiply: Factor for pixels 0..255, one number or one for each channel in the model's own order.
        add: Number that is added after multiplying, one or one for each channel in the model's own order.
        layout: Axes of the input, `NHWC` or `NCHW`.
        channels: Order of the channels in the input, `RGB` or `BGR`.
    """

    input: str = ""
    logits: str = ""
    probabilities: str = ""
    output_is: str = ""
    features: str = ""
    multiply: tuple[float, ...] = (1.0,)
    add: tuple[float, ...] = (0.0,)
    layout: str = "NHWC"
    channels: str = "RGB"

    @property
    def scales(self) -> bool:
        """Whether pixel values are scaled (multiplied or shifted) between the recipe's tensor and the model's input."""
        return set(self.multiply) != {1.0} or set(self.add) != {0.0}

    def pick_input(self, names: Collection[str]) -> str:
        """Return the name of the model's input.

        Raises:
            ConversionError: The input doesn't exist, or isn't the only one.
        """
        found = ", ".join(sorted(names)) or "none"
        if len(names) != 1:
            raise ConversionError(f"the model must have one input, the images; it has {found}")
        if self.input not in {"", *names}:
            raise ConversionError(
                f"the model has no input {self.input}; it has {found}", hint="correct `input` in the declaration"
            )
        return next(iter(names))

    def pick_outputs(self, names: Collection[str]) -> tuple[str | None, str | None]:
        """Return the names of the outputs with logits and probabilities; one of them may be None.

        Raises:
            ConversionError: A declared output doesn't exist, or the content of the outputs isn't declared.
        """
        found = ", ".join(sorted(names)) or "none"
        missing = [name for name in (self.logits, self.probabilities, self.features) if name and name not in names]
        if missing:
            raise ConversionError(
                f"the model has no output {missing[0]}; it has {found}",
                hint="correct `logits`, `probabilities` or `features` in the declaration",
            )
        if self.logits or self.probabilities:
            return self.logits or None, self.probabilities or None
        others = [name for name in names if name != self.features]
        if self.output_is and len(others) == 1:
            (only,) = others
            return (only, None) if self.output_is == "logits" else (None, only)
        ours = [name if name in names else None for name in ("logits", "probabilities")]
        if any(ours):
            return ours[0], ours[1]
        raise ConversionError(
            "the declaration does not name the output that holds logits or probabilities; the model's outputs "
            f"are {found}",
            hint="declare `logits: NAME` or `probabilities: NAME`, or, if the model has a single output, "
            "`output_is: logits`",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the interface as plain data for JSON."""
        return asdict(self)


def parse_interface(values: dict[str, Any]) -> Interface:
    """Parse the result of `to_dict` after JSON has turned tuples into lists."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Interface(**fields)


def check_input(shape: Sequence[int | None] | None, interface: Interface, height: int, width: int) -> None:
    """Check that images of the declared size fit the shape of a model's input; None in a shape means any size.

    Raises:
        ConversionError: Images of the recipe don't fit.
    """
    sizes = (3, height, width) if interface.layout == "NCHW" else (height, width, 3)
    fits = shape is None or (
        len(shape) == 4 and all(own in {None, size} for own, size in zip(shape[1:], sizes, strict=True))
    )
    if not fits:
        own = ", ".join("?" if size is None else str(size) for size in shape or ())
        wanted = ", ".join(map(str, sizes))
        raise ConversionError(
            f"the model's input has the shape ({own}), but the declaration says (batch, {wanted}) with the layout "
            f"{interface.layout}",
            hint="correct `height`, `width` or `layout` in the declaration",
        )
