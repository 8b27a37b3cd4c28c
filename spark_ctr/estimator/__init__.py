"""What every trained stage shares: base estimator and model, their Params, summary and run."""
