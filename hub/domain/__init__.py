"""Pure types and rules: records, changes, identities, deliveries, outcomes. No I/O."""
