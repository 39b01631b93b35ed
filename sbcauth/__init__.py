"""sbcauth: an SBC's authentication server for Kamailio."""

__version__ = "0.1.0"
