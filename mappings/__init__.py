"""Ready-made mappings, one folder a pair of systems."""
