"""One module per entity of the API."""
