"""The documents that are written from the code: docs/api.md, docs/openapi.json, docs/sql.md."""
