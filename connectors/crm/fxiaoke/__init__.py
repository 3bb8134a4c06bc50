"""Fxiaoke (ShareCRM, 纷享销客)."""
