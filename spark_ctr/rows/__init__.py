"""The bridge from the rows of a DataFrame to training files, and back to scores."""
