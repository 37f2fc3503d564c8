"""How fast models are on this machine, stage by stage."""
