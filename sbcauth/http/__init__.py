"""The external server that is asked by HTTPS: a service that knows the passwords."""
