"""The mirror against a real MLflow server."""
