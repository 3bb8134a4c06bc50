"""The CRM integration hub: a record changes in one system, and the same fact becomes true in another, once."""

__version__ = "0.1.0"
