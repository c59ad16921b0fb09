"""Open-Unmix, vocals and the rest, with random weights: loading, transform, network and filter
are its own.

    python run_openunmix.py make FOLDER                  # weights of the shape of umxhq
    python run_openunmix.py separate FOLDER SONG OUT     # two FLAC files
    python run_openunmix.py facts FOLDER                 # parameters and size, JSON

Not its own are the files. It has torchaudio for them, which reads none without torchcodec and
FFmpeg, and cannot be imported beside a torch without CUDA; for separating at a network's own rate
it is imported and not used, so an empty module stands in for it.
"""

import json
import sys
import types
from pathlib import Path

sys.modules["torchaudio"] = types.ModuleType("torchaudio")

import sound  # noqa: E402
import torch  # noqa: E402
from openunmix import predict, utils  # noqa: E402
from openunmix.model import OpenUnmix  # noqa: E402

RATE_HZ, N_FFT, HOP, CHANNELS = 44_100, 4096, 1024, 2
CELLS, BINS = 512, 1487  # umxhq's; 1487 bins are 16 kHz


def _make(folder):
    """Write a folder as its training leaves one."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = OpenUnmix(
        nb_bins=N_FFT // 2 + 1, nb_channels=CHANNELS, hidden_size=CELLS, max_bin=BINS
    )
    torch.save(network.state_dict(), place / "vocals.pth")
    shape = {"nfft": N_FFT, "nhop": HOP, "nb_channels": CHANNELS}
    (place / "separator.json").write_text(json.dumps({**shape, "sample_rate": RATE_HZ}))
    (place / "vocals.json").write_text(json.dumps({"args": {**shape, "hidden_size": CELLS}}))


def _separator(folder):
    # One iteration of the filter in windows of 300 frames: the defaults of its command.
    separator = utils.load_separator(folder, targets=["vocals"], residual=True)
    separator.freeze()
    return separator


def _separate(folder, song, out):
    audio, rate_hz = sound.read(song)
    separator = _separator(folder)
    stems = predict.separate(torch.from_numpy(audio), rate=rate_hz, separator=separator)
    sound.write_flac(Path(out) / "vocals.flac", stems["vocals"][0].numpy(), rate_hz)
    sound.write_flac(Path(out) / "instrumental.flac", stems["residual"][0].numpy(), rate_hz)


def _facts(folder):
    network = _separator(folder).target_models["vocals"]
    size = (Path(folder) / "vocals.pth").stat().st_size
    count = sum(p.numel() for p in network.parameters())
    print(json.dumps({"parameters": count, "bytes": size}))


if __name__ == "__main__":
    {"make": _make, "separate": _separate, "facts": _facts}[sys.argv[1]](*sys.argv[2:])
