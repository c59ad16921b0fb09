"""Augmentation, all on tensors, on whatever device they lie.

Every function is called as `f(audio, chosen, ..., generator=generator)`: `audio` float32
[shape=(batch, 2, n)] and `chosen` a bool Tensor [shape=(batch,)] that says which chunks are
augmented (`some` draws a share; `&`, `|` and `~` combine choices with what is known of the
chunks). Chunks that are not chosen come back bit for bit, inputs are never changed, what is
costly is done for the chosen alone, and ranges of what is drawn are keywords. All chance comes
from the `torch.Generator`, which lives on the device of the audio, so a run can be resumed.

The four of Uhlich et al. 2017 (random chunk, swapped channels, gain, sources of different
songs) are for every source; the rest gives dry voices what records have.
"""

from viso.train.augment.draw import shuffle, some, uniform
from viso.train.augment.image import pan, swap_channels, widen
from viso.train.augment.level import compress, invert, match_level, quieten, scale, silence
from viso.train.augment.resample import change_speed
from viso.train.augment.room import delay, reverb
from viso.train.augment.tone import cut_band, drive, tilt
from viso.train.augment.voice import double, harmonise, shift_pitch

__all__ = [
    "change_speed",
    "compress",
    "cut_band",
    "delay",
    "double",
    "drive",
    "harmonise",
    "invert",
    "match_level",
    "pan",
    "quieten",
    "reverb",
    "scale",
    "shift_pitch",
    "shuffle",
    "silence",
    "some",
    "swap_channels",
    "tilt",
    "uniform",
    "widen",
]
