"""Connectors: one folder a vendor, grouped by the kind of system."""
