"""What commonly goes wrong on a machine, looked for in one go."""
