"""What every stage shares: Params, persistence, schema checks, training data."""
