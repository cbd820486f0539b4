"""The benchmark: ``make bench``. run.py says what is measured and how."""
