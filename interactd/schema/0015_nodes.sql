-- The daemons that run on this database. A daemon takes a new row at every start, so a number never means two of them.
CREATE TABLE nodes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,                                  -- host and process, for whoever reads the table
  started_at timestamptz NOT NULL DEFAULT now(),
  beat_at timestamptz NOT NULL DEFAULT now()           -- the last sign of life, by the database's clock
);
ALTER TABLE devices ADD COLUMN listens_at bigint;        -- the node with its newest socket; NULL once that is closed. Counts while the node lives
