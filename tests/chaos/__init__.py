"""Chaos: the hub's processes are killed, paused and lied to while the world changes, and a checker lays the ground truth side by side."""
