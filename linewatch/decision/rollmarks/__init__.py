"""Defects that recur at a roll's pitch."""
