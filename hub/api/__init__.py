"""HTTP: webhook ingress and the admin API."""
