"""Augmentation of tensors, on any device.

Every function is called as `f(audio, chosen, ..., generator=generator)`: `audio` is float32
[shape=(batch, 2, n)], `chosen` is a bool Tensor [shape=(batch,)] that marks the chunks to augment
(`some` draws a share; `&`, `|` and `~` combine choices with facts about the chunks). Other chunks
come back bit for bit, and inputs never change. Costly work is done for the chosen chunks only.
The ranges of drawn values are keywords. All randomness comes from the `torch.Generator`, which is
on the device of the audio, so a run can be resumed.

The four augmentations of Uhlich et al. 2017 (random chunk, swapped channels, gain, sources of
different songs) are for every source; the others make dry voices sound like records.
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
