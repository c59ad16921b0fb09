"""Where files are: paths of this machine, and addresses of stores."""
