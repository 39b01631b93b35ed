"""The pages: each looks something up by the functions of the commands, and shows it."""
