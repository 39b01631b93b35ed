#!/bin/sh
# The command, with the configuration of the service where none is named.
export SBCAUTH_CONFIG="${SBCAUTH_CONFIG:-/etc/sbcauth/sbcauth.yaml}"
exec /usr/lib/sbcauth/bin/sbcauth "$@"
