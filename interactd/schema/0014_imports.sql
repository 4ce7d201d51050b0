-- What imports remember: of each entry of another system, what it said when it was read last, so that the next import can tell what
-- was changed there from what was changed here; and of each address book, where the last import ended.

-- A contact that is deleted here leaves its entry's row without contact: the next import does not bring it back.
ALTER TABLE external_contacts
  DROP CONSTRAINT external_contacts_user_id_contact_id_fkey,
  ALTER COLUMN contact_id DROP NOT NULL,
  ADD COLUMN place text NOT NULL DEFAULT '',     -- where it is found now: href, resource name
  ADD COLUMN card jsonb,                         -- what it said, as the API would show it
  ADD COLUMN version int,                        -- of the contact when nobody had edited it here; NULL: somebody has
  ADD COLUMN photo text,                         -- mark of the photo that was taken over
  ADD CONSTRAINT external_contacts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users,
  ADD CONSTRAINT external_contacts_contact_fkey FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE SET NULL (contact_id);
ALTER TABLE import_contacts ADD COLUMN place text NOT NULL DEFAULT '';

CREATE TABLE import_states (
  user_id bigint NOT NULL REFERENCES users,
  system text NOT NULL,
  account text NOT NULL,
  token jsonb,                       -- what the system wants to hear to tell only what changed since
  signature text,                    -- of the filters that the token goes with
  import_time bigint,                -- when the last import that succeeded began
  run text,                          -- the import at work; a wipe removes the row, which ends it
  until timestamptz,                 -- by then its node must have said that it still works
  started bigint,
  progress jsonb NOT NULL DEFAULT '{}',
  told timestamptz,                  -- when that was written
  PRIMARY KEY (user_id, system, account)
);
CREATE INDEX import_infos_version ON import_infos (canon_version);
