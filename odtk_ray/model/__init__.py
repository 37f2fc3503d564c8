"""The RetinaNet of ODTK: backbones, feature pyramid, heads, checkpoints."""
