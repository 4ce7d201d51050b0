-- Links by which a forgotten password is set anew: single use, kept as a digest. Whatever ends a user's sessions ends them.
CREATE TABLE password_resets (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  token_hash bytea NOT NULL UNIQUE,     -- SHA-256 of the token in the link; only the newest of a user works
  expires_at timestamptz NOT NULL
);
CREATE INDEX password_resets_user ON password_resets (user_id, id);

-- People whom a user had erased, so that an import does not bring them back: keyed digests of what they are known by. The key is in
-- the ring of the trigger tokens' keys, so the database alone tells nobody's name or number.
CREATE TABLE erased_people (
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  mark bytea NOT NULL,
  key_id text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, mark)
);
