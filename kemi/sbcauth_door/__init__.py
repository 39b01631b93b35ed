"""The routing functions that Kamailio calls, and all that names KSR."""
