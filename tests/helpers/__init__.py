"""What several tests share: sounds, models, servers and clocks, all made here."""
