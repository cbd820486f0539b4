"""One file a schema change, named by its revision. Never edited once released."""
