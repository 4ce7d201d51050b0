-- People who came by an import: known ones by their id in the other system, and those who could not become a contact by
-- themselves (contract section 11: `failed`). The latter are no contacts: outside lists, sync and matching, seen by the clean-up
-- calls only, gone by a merge. Their ids come from the sequence of contacts.

CREATE TABLE external_contacts (       -- which contact an entry of another system is
  user_id bigint NOT NULL,
  system text NOT NULL,
  account text NOT NULL,               -- of the user, in that system
  external_id text NOT NULL,
  contact_id bigint NOT NULL,
  etag text,
  PRIMARY KEY (user_id, system, account, external_id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);
CREATE INDEX external_contacts_contact ON external_contacts (user_id, contact_id);

CREATE TABLE import_contacts (
  id bigint PRIMARY KEY DEFAULT nextval('contact_ids'),
  user_id bigint NOT NULL REFERENCES users,
  system text NOT NULL, account text NOT NULL, external_id text NOT NULL,
  etag text,
  card jsonb NOT NULL,                 -- what it would be as a contact, as the API shows it; without ids and basicInfos
  display_name text NOT NULL DEFAULT '',
  at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, id),
  UNIQUE (user_id, system, account, external_id)
);

CREATE TABLE import_infos (            -- basicInfos of an import contact, compared as those of contacts are
  user_id bigint NOT NULL,
  import_contact_id bigint NOT NULL,
  place int NOT NULL,
  type text NOT NULL CHECK (type IN ('email', 'fax', 'mobile', 'phone', 'website')),
  subtype text NOT NULL DEFAULT 'other' CHECK (subtype IN ('home', 'work', 'other')),
  value text NOT NULL,
  identifier text,
  canon text, ext text NOT NULL DEFAULT '', nsn text, tail text, canon_version int NOT NULL DEFAULT 0,
  PRIMARY KEY (user_id, import_contact_id, place),
  FOREIGN KEY (user_id, import_contact_id) REFERENCES import_contacts (user_id, id) ON DELETE CASCADE
);
CREATE INDEX import_infos_canon ON import_infos (user_id, canon);

-- An import contact in base projection.
CREATE FUNCTION import_contact_json(i import_contacts) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_strip_nulls((jsonb_build_object('contactType', 'person', 'hot', false, 'addresses', '[]'::json, 'tags', '[]'::json,
      'searchTerms', '[]'::json, 'customFields', '[]'::json, 'relatedTo', '[]'::json, 'pictures', '[]'::json, 'deals', '[]'::json, 'notes', '[]'::json,
      'tasks', '[]'::json, 'interactions', '[]'::json,
      'profiles', (SELECT jsonb_object_agg(n, '{"connected": false}'::jsonb)
        FROM unnest('{facebook,aim,gplus,gtalk,icq,jabber,linkedIn,skype,twitter,xing}'::text[]) n))
    || i.card || jsonb_build_object('id', i.id, 'version', 1, 'displayName', i.display_name, 'importContact', true,
      'basicInfos', (SELECT coalesce(jsonb_agg(jsonb_build_object('type', f.type, 'subtype', f.subtype, 'value', f.value, 'identifier', f.identifier,
        'excluded', false) ORDER BY f.place), '[]') FROM import_infos f WHERE f.user_id = i.user_id AND f.import_contact_id = i.id)))::json)
$$;

CREATE TABLE share_receipts (          -- who got a copy of which original: nobody gets it again, kept or deleted
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  origin bigint NOT NULL,
  PRIMARY KEY (user_id, origin)
);
