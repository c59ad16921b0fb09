"""Signal processing in numpy: the STFT, masks, the Wiener filter, loudness and bandwidth."""
