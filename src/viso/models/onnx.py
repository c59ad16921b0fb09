"""A model: frames of a mixture in, frames of its target out.

`Model` is the protocol of two members that the separator needs. `OnnxModel` implements it with
one ONNX Runtime session; the card is in the file, or in a file beside it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from viso.errors import ModelError
from viso.models.card import ModelCard
from viso.models.masknet import apply_graph
from viso.models.runtimes import open_session
from viso.models.session import Device, Session

__all__ = ["LOUDEST", "Model", "OnnxModel"]

LOUDEST = 1000
"""The peak of a model's output may be this many times that of the mixture (60 dB).

The masks of all models that come with viso stay below 1.01 for music, noise, silence and clipped
waves (measured). Masks of other models exceed 1 where vocals and instrumental cancel each other.
"""

Complexes = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float32]


class Model(Protocol):
    """What the separator needs from a model."""

    @property
    def card(self) -> ModelCard:
        """How to run the model, and where it comes from."""
        ...

    def estimate(self, chunk: Complexes) -> Complexes:
        """Return the target's spectrum in the `card.step_frames` middle frames of `chunk`.

        Parameters
        ----------
        chunk : complex64 array [shape=(card.channels, bins, card.chunk_frames)]

        Returns
        -------
        complex64 array [shape=(card.channels, bins, card.step_frames)]
            If the card has `stems`, of all of them
            [shape=(stems, card.channels, bins, card.step_frames)].
        """
        ...


class OnnxModel:
    """A network in an ONNX file, run by ONNX Runtime.

    A pickle holds only the path and the hash of the file; unpickling opens the file again.

    Parameters
    ----------
    path : Path
        The ONNX file.
    device : str
        See `open_session`.
    threads : int
        CPU threads of the session; 0 lets ONNX Runtime take all cores.
    session : Session, optional
        The file, if it is open already.

    Attributes
    ----------
    card : ModelCard
    device : str
        The device that it really runs on.
    sha256 : str
        Hash of the file, in hexadecimal.

    Raises
    ------
    ModelError
        If the file is missing, is not an ONNX model, or is refused by `viso.models._onnx_check`;
        if it has no card or its card does not fit; if the device is not available.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: Device = "auto",
        threads: int = 0,
        session: Session | None = None,
    ) -> None:
        self._session = session or open_session(path, device=device, threads=threads)
        card = self._session.card()
        if not isinstance(card, ModelCard):
            raise ModelError(f"{path}: sees whole segments; open it with OnnxSegmentModel")
        self.path, self.card = path, card
        self.device, self.sha256 = self._session.device, self._session.sha256
        _check_shapes(self._session, card, path)

    def __reduce__(self) -> tuple[Any, ...]:
        # A session cannot be pickled; another process opens the same file.
        return _reloaded, (self.path.absolute(), self.sha256, *self._session.options)

    def run(self, features: Floats, /) -> Floats:
        """Run the bare graph on one input array, laid out as the card says."""
        (result,) = self._session.run({self._session.inputs[0].name: features})
        frames, bins = (3, 2) if self.card.axes == "bins-frames" else (2, 3)
        if (
            result.ndim != 4
            or result.shape[bins] != features.shape[bins]
            or result.shape[frames] not in (self.card.chunk_frames, self.card.step_frames)
        ):
            raise ModelError(
                f"{self.path}: gave an output of shape {result.shape} for {features.shape}, "
                "which its card does not allow"
            )
        self._check_level(features, result)
        return result

    def _check_level(self, features: Floats, result: Floats) -> None:
        """Raise if the output is not finite, or so loud that its gain would silence both stems."""
        peak = _peak(result) * self.card.gain
        if self.card.output == "mask":
            reference = 1.0
        else:
            # For a silent chunk, the reference is the spectrum of a full-scale constant.
            reference = max(_peak(features), self.card.spectral.n_fft / 2)
        if not peak <= LOUDEST * reference:  # also true for NaN
            loud = f"{peak / reference:.3g} times as loud as the mixture"
            raise ModelError(
                f"{self.path}: its output is {loud if math.isfinite(peak) else 'NaN or infinite'}; "
                f"more than {LOUDEST} times is refused: the file is damaged, or its card does not "
                "fit (output, gain)"
            )

    def estimate(self, chunk: Complexes) -> Complexes:
        """See `Model.estimate`."""
        return apply_graph(self.run, chunk, card=self.card)


def _reloaded(path: Path, sha256: str, device: Device, threads: int) -> OnnxModel:
    """Open a pickled model's file again.

    Raises
    ------
    ModelError
        See `OnnxModel`; also if the file has changed.
    """
    model = OnnxModel(path, device=device, threads=threads)
    if model.sha256 != sha256:
        raise ModelError(f"{path}: is another file than when it was pickled; load it anew")
    return model


def _peak(values: Floats) -> float:
    """Return the largest magnitude, or NaN if a value is NaN."""
    return max(float(values.max()), -float(values.min()))  # fastest, because it makes no copy


def _check_shapes(session: Session, card: ModelCard, path: Path) -> None:
    """Compare the graph's declared shapes with what the card promises."""
    inputs, outputs = session.inputs, session.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs; need one of each"
        )
    for side in (inputs[0], outputs[0]):
        if side.type != "tensor(float)":
            raise ModelError(f"{path}: {side.name} is {side.type}, not float32")
    sides = (
        ("input", inputs[0].shape, card.input, {card.chunk_frames}),
        ("output", outputs[0].shape, card.output, {card.chunk_frames, card.step_frames}),
    )
    for what, shape, kind, frames in sides:
        channels = card.channels * (2 if kind == "complex" else 1)
        if what == "output":
            channels *= len(card.estimated)
        expected: list[set[int]] = [{1}, {channels}, {card.used_bins}, frames]
        if card.axes == "frames-bins":
            expected[2:] = expected[:1:-1]
        free = [size if isinstance(size, int) and size > 0 else None for size in shape]
        fits = len(free) == 4 and all(
            size is None or size in allowed for size, allowed in zip(free, expected, strict=True)
        )
        if not fits:
            wanted = [" or ".join(map(str, sorted(allowed))) for allowed in expected]
            raise ModelError(
                f"{path}: card does not fit: the graph's {what} is {list(shape)}, "
                f"the card says [{', '.join(wanted)}]"
            )
