"""What an operator asks a server: outcomes, counts, lockouts, what is wrong."""
