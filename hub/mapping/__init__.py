"""The mapping language: load -> check -> compile -> run. Pure: no I/O but reading the files that a person names."""
