"""Random weights of Demucs' default model, as a file that its own command runs.

python run_demucs.py make FOLDER      # random.th: demucs --repo FOLDER -n random SONG
python run_demucs.py facts FOLDER     # parameters and size, JSON
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

import torch
from demucs.htdemucs import HTDemucs
from demucs.pretrained import SOURCES, get_model
from demucs.states import get_state

# In these the published htdemucs differs from the defaults of the class: 512 channels in the
# transformer, residual branches in the decoder too, chunks of 7.8 s.
PUBLISHED = {"bottom_channels": 512, "dconv_mode": 3, "segment": Fraction(39, 5)}
NAME = "random"


def _make(folder):
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = HTDemucs(SOURCES, **PUBLISHED)
    arguments, options = network._init_args_kwargs
    # Half precision, as its training saves them; widened when loaded.
    state = get_state(network, None, half=True)
    package = {"klass": HTDemucs, "args": arguments, "kwargs": options, "state": state}
    torch.save(package, place / f"{NAME}.th")


def _facts(folder):
    count = sum(p.numel() for p in get_model(NAME, Path(folder)).parameters())
    size = (Path(folder) / f"{NAME}.th").stat().st_size
    print(json.dumps({"parameters": count, "bytes": size}))


if __name__ == "__main__":
    {"make": _make, "facts": _facts}[sys.argv[1]](*sys.argv[2:])
