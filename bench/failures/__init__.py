"""What goes wrong when vocals are separated: error energy by kind, moment, place and pitch."""
