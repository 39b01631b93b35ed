"""The configuration: sbcauth.yaml, read, checked and shown."""
