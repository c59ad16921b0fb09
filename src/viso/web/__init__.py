"""What viso shows in a browser; needs the extra ``[web]``."""
