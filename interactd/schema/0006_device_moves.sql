-- Phones that changed hands lately: at most 5 a day per user and 2 per token (contract section 4, device).
CREATE TABLE device_moves (
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,   -- who has the phone now
  token_hash bytea NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX device_moves_at ON device_moves (at);
