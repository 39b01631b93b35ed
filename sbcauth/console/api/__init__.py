"""The console as JSON, for programs: the same functions, under `/api/v1/`."""
