"""The external server that is asked by RADIUS."""
