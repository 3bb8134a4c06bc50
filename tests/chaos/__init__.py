"""Chaos: the hub's processes are killed, paused and lied to while the world changes; then a checker compares."""
