"""Kingdee K/3 Cloud (金蝶云·星空)."""
