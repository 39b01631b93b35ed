"""The web page: the same as the commands, for whoever would rather look than read."""
