"""Where files lie: at paths of this machine, or at addresses in stores."""
