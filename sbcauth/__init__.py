"""sbcauth: an SBC's authentication server for Kamailio."""

__version__ = "1.0.0"
