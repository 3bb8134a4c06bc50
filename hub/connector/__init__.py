"""The kit that every connector is built from: the contract, HTTP, tokens, limits, webhooks, simulators, conformance."""
