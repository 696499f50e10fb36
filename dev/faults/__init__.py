"""A job under load through many seeded faults in every transition, with a ledger at the end: `make faults`."""
