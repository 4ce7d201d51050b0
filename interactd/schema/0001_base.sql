-- The tables of interactd: accounts, contacts and what hangs on them, events, deliveries, the change log.
--
-- Tenancy. Every row of a user's data carries that user's id (`user_id`, NOT NULL), and every reference between two such
-- rows is a composite key (user_id, id), so a reference to another owner's row can not be stored at all. Company data
-- (groups, custom fields) is kept apart the same way by company_id.
--
-- Numbers. `counters` has one narrow row per user. Whoever changes a user's data takes that row first (several: ascending
-- user id) and raises `seq`; the rows changed carry the number. So number, time and commit order agree (contract section 9).
--
-- Times are bigint milliseconds since 1970-01-01 UTC where the API shows them, timestamptz where only the server uses them.

CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Refusals raised inside a statement. interactd/db.py turns SQLSTATE IA404 into "not there" (MESSAGE: what, DETAIL: detail code).
CREATE FUNCTION refuse(state text, what text, detail text DEFAULT '1001') RETURNS boolean LANGUAGE plpgsql VOLATILE AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = state, MESSAGE = what, DETAIL = detail; END $$;

CREATE FUNCTION must(value anyelement, what text) RETURNS anyelement LANGUAGE plpgsql VOLATILE AS
$$ BEGIN IF value IS NULL THEN PERFORM refuse('IA404', what); END IF; RETURN value; END $$;

---------------------------------------------------------------------------------------------- accounts

CREATE TABLE companies (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  region text,                       -- ISO 3166 code for national numbers; NULL: the configuration's
  area_code text,                    -- for local numbers, without the national prefix; NULL: the configuration's
  numbers_version int NOT NULL DEFAULT 1   -- raised when region or area_code change
);

CREATE TABLE company_lines (         -- the company's own numbers: they never match somebody else
  company_id bigint NOT NULL REFERENCES companies ON DELETE CASCADE,
  value text NOT NULL, canon text NOT NULL, ext text NOT NULL DEFAULT '',
  PRIMARY KEY (company_id, canon, ext)
);

CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text NOT NULL,
  password_hash text,                -- argon2id; NULL: can not log in
  must_change boolean NOT NULL DEFAULT false,
  company_id bigint REFERENCES companies,
  active boolean NOT NULL DEFAULT true,
  date_created bigint NOT NULL DEFAULT now_ms(),
  auth_version int NOT NULL DEFAULT 1,     -- raised by whatever ends sessions; caches compare it
  UNIQUE (company_id, id)
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TABLE user_roles (
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  role text NOT NULL CHECK (role IN ('user', 'customer_admin', 'interact_admin')),
  PRIMARY KEY (user_id, role)
);

CREATE TABLE counters (              -- narrow and of its own, so that foreign keys on users never meet its lock
  user_id bigint PRIMARY KEY REFERENCES users ON DELETE CASCADE,
  seq bigint NOT NULL DEFAULT 0,
  at bigint NOT NULL DEFAULT now_ms(),     -- time of `seq`: max(clock, previous + 1)
  event_seq bigint NOT NULL DEFAULT 0,     -- number of the last event, and of the one before it
  event_prev bigint NOT NULL DEFAULT 0,
  epoch text NOT NULL DEFAULT substr(md5(random()::text || clock_timestamp()::text), 1, 16)
) WITH (fillfactor = 50);

CREATE FUNCTION counter_of_new_user() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO counters (user_id) VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER users_counter AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION counter_of_new_user();

CREATE TABLE groups (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  company_id bigint NOT NULL REFERENCES companies,
  name text NOT NULL,
  UNIQUE (company_id, id)
);

CREATE TABLE group_members (         -- both sides of one company: "no company" never equals "no company"
  company_id bigint NOT NULL,
  group_id bigint NOT NULL,
  user_id bigint NOT NULL,
  PRIMARY KEY (group_id, user_id),
  FOREIGN KEY (company_id, group_id) REFERENCES groups (company_id, id) ON DELETE CASCADE,
  FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id) ON DELETE CASCADE
);
CREATE INDEX group_members_user ON group_members (user_id);

CREATE TABLE custom_fields (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  company_id bigint NOT NULL REFERENCES companies,
  name text NOT NULL,
  data_type text NOT NULL DEFAULT 'varchar' CHECK (data_type = 'varchar'),
  entity_type text NOT NULL DEFAULT 'contact' CHECK (entity_type = 'contact'),
  UNIQUE (company_id, id),
  CONSTRAINT custom_fields_name_key UNIQUE (company_id, entity_type, name)
);

CREATE TABLE sessions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  token_hash bytea NOT NULL UNIQUE,  -- SHA-256 of the token; the token itself is kept nowhere
  scope text NOT NULL CHECK (scope IN ('csr', 'device app', 'trigger app', 'web portal')),
  created_at timestamptz NOT NULL DEFAULT now(),
  used_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  address text, agent text,
  UNIQUE (user_id, id)
);

CREATE TABLE login_addresses (       -- where an account logged in from before (contract section 2, passwords)
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  address text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, address)
);

---------------------------------------------------------------------------------------------- contacts

CREATE SEQUENCE contact_ids;         -- shared with import contacts

CREATE TABLE contacts (
  id bigint PRIMARY KEY DEFAULT nextval('contact_ids'),
  user_id bigint NOT NULL REFERENCES users,
  version int NOT NULL DEFAULT 1,
  contact_type text NOT NULL CHECK (contact_type IN ('person', 'organization')),
  hot boolean NOT NULL DEFAULT false,
  oneself boolean NOT NULL DEFAULT false,  -- the owner's own card: its numbers never match somebody else
  title text, first_name text, middle_name text, last_name text, profession text,
  gender text CHECK (gender IN ('m', 'f')),
  organization_name text, business text,
  display_name text NOT NULL GENERATED ALWAYS AS (CASE contact_type WHEN 'organization' THEN coalesce(organization_name, '')
    ELSE rtrim(coalesce(first_name || ' ', '') || coalesce(middle_name || ' ', '') || coalesce(last_name, '')) END) STORED,
  origin bigint,                     -- the first original this is a copy of, through any number of shares
  shared_by bigint,                  -- the user who shared it
  created bigint NOT NULL DEFAULT now_ms(),
  changed bigint NOT NULL DEFAULT now_ms(),
  seq bigint NOT NULL,               -- number of the last change of the contact or of what it shows; new events apart: for sync the
                                     -- created_seq of an interaction counts for its person and organization too
  UNIQUE (user_id, id)
);
CREATE INDEX contacts_seq ON contacts (user_id, seq);

CREATE TABLE contact_links (         -- person <-> organization
  user_id bigint NOT NULL,
  person_id bigint NOT NULL,
  organization_id bigint NOT NULL,
  PRIMARY KEY (user_id, person_id, organization_id),
  FOREIGN KEY (user_id, person_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE,
  FOREIGN KEY (user_id, organization_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);
CREATE INDEX contact_links_organization ON contact_links (user_id, organization_id);

CREATE TABLE basic_infos (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  contact_id bigint,                 -- NULL: unassigned
  type text NOT NULL CHECK (type IN ('email', 'fax', 'mobile', 'phone', 'website')),
  subtype text NOT NULL DEFAULT 'other' CHECK (subtype IN ('home', 'work', 'other')),
  value text NOT NULL,               -- as it was written; never lost
  identifier text,
  excluded boolean NOT NULL DEFAULT false,
  excluded_count int NOT NULL DEFAULT 0,
  last_excluded bigint,
  -- the form it is compared by (events/numbers.py); NULL where the value has none
  canon text,                        -- E.164, lower-cased address, or normalised URL
  ext text NOT NULL DEFAULT '',      -- extension of a number
  nsn text,                          -- national significant number
  tail text,                         -- last 8 digits of a number; the whole address otherwise
  canon_version int NOT NULL DEFAULT 0,    -- rules the form was made by
  UNIQUE (user_id, id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);
CREATE INDEX basic_infos_contact ON basic_infos (user_id, contact_id);
CREATE INDEX basic_infos_tail ON basic_infos (user_id, tail);     -- one probe serves exact, extension, national, suffix
CREATE INDEX basic_infos_canon ON basic_infos (user_id, canon);   -- switchboard prefixes
CREATE INDEX basic_infos_version ON basic_infos (canon_version);
CREATE UNIQUE INDEX basic_infos_unassigned ON basic_infos (user_id, canon, ext) WHERE contact_id IS NULL;

CREATE TABLE addresses (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL,
  contact_id bigint NOT NULL,
  address_line1 text, address_line2 text, address_line3 text, zip_code text, city text, state text, country text,
  subtype text NOT NULL DEFAULT 'other' CHECK (subtype IN ('home', 'work', 'other')),
  UNIQUE (user_id, id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);
CREATE INDEX addresses_contact ON addresses (user_id, contact_id);

CREATE TABLE contact_profiles (
  user_id bigint NOT NULL,
  contact_id bigint NOT NULL,
  network text NOT NULL CHECK (network IN ('facebook', 'aim', 'gplus', 'gtalk', 'icq', 'jabber', 'linkedIn', 'skype', 'twitter', 'xing')),
  connected boolean NOT NULL DEFAULT false,
  username text, url text,
  PRIMARY KEY (user_id, contact_id, network),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);

CREATE TABLE contact_tags (
  user_id bigint NOT NULL, contact_id bigint NOT NULL, tag text NOT NULL,
  PRIMARY KEY (user_id, contact_id, tag),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);

CREATE TABLE contact_search_terms (
  user_id bigint NOT NULL, contact_id bigint NOT NULL, term text NOT NULL,
  PRIMARY KEY (user_id, contact_id, term),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);

CREATE TABLE contact_custom_values ( -- a field of the owner's own company
  user_id bigint NOT NULL, contact_id bigint NOT NULL, company_id bigint NOT NULL, custom_field_id bigint NOT NULL,
  value text NOT NULL,
  PRIMARY KEY (user_id, contact_id, custom_field_id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE,
  FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
  CONSTRAINT contact_custom_values_field_fkey FOREIGN KEY (company_id, custom_field_id) REFERENCES custom_fields (company_id, id) ON DELETE CASCADE
);

CREATE TABLE pictures (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL,
  contact_id bigint NOT NULL,
  is_default boolean NOT NULL DEFAULT false,
  type text NOT NULL DEFAULT 'interact' CHECK (type IN ('facebook', 'google', 'gravatar', 'interact', 'twitter', 'carddav')),
  key text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),   -- 122 random bits of the address; never logged
  image bytea, thumb64 bytea, thumb256 bytea, media_type text, etag text, source_url text,
  UNIQUE (user_id, id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);
CREATE INDEX pictures_contact ON pictures (user_id, contact_id);
CREATE UNIQUE INDEX pictures_default ON pictures (user_id, contact_id) WHERE is_default;

CREATE TABLE deals (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  name text NOT NULL,
  value bigint, currency text, hot boolean NOT NULL DEFAULT false,
  contact_id bigint,
  source text CHECK (source IN ('website', 'referral', 'word_of_mouth', 'cold_call')),
  stage text NOT NULL DEFAULT 'incoming' CHECK (stage IN ('incoming', 'qualified', 'quote', 'closing', 'won', 'lost', 'unqualified')),
  seq bigint NOT NULL,
  UNIQUE (user_id, id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE SET NULL (contact_id)
);
CREATE INDEX deals_seq ON deals (user_id, seq);
CREATE INDEX deals_contact ON deals (user_id, contact_id);

CREATE TABLE notes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  message text NOT NULL,
  contact_id bigint, deal_id bigint,
  timestamp bigint NOT NULL DEFAULT now_ms(),
  seq bigint NOT NULL,
  UNIQUE (user_id, id),
  CHECK (num_nonnulls(contact_id, deal_id) = 1),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE,
  FOREIGN KEY (user_id, deal_id) REFERENCES deals (user_id, id) ON DELETE CASCADE
);
CREATE INDEX notes_seq ON notes (user_id, seq);
CREATE INDEX notes_contact ON notes (user_id, contact_id);
CREATE INDEX notes_deal ON notes (user_id, deal_id);

CREATE TABLE task_lists (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  title text NOT NULL,
  seq bigint NOT NULL,
  UNIQUE (user_id, id)
);
CREATE INDEX task_lists_seq ON task_lists (user_id, seq);

CREATE TABLE tasks (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  title text NOT NULL, content text,
  status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'completed')),
  task_type text NOT NULL DEFAULT 'task' CHECK (task_type IN ('task', 'scheduled_call')),
  created bigint NOT NULL DEFAULT now_ms(),
  concrete_due_date bigint,
  fuzzy_due_date text CHECK (fuzzy_due_date IN ('tomorrow', 'next_week', 'in_a_month', 'someday')),
  duration int, hot boolean NOT NULL DEFAULT false,
  task_list_id bigint,
  assigned_to_id bigint NOT NULL REFERENCES users,   -- the owner, or a colleague; checked by the call, undone when the account goes
  contact_id bigint, deal_id bigint,
  seq bigint NOT NULL,               -- in the owner's numbers
  assigned_seq bigint NOT NULL,      -- in the assignee's numbers
  UNIQUE (user_id, id),
  CHECK (num_nonnulls(contact_id, deal_id) <= 1),
  FOREIGN KEY (user_id, task_list_id) REFERENCES task_lists (user_id, id) ON DELETE SET NULL (task_list_id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE SET NULL (contact_id),
  FOREIGN KEY (user_id, deal_id) REFERENCES deals (user_id, id) ON DELETE SET NULL (deal_id)
);
CREATE INDEX tasks_seq ON tasks (user_id, seq);
CREATE INDEX tasks_assigned ON tasks (assigned_to_id, assigned_seq);
CREATE INDEX tasks_contact ON tasks (user_id, contact_id);
CREATE INDEX tasks_deal ON tasks (user_id, deal_id);
CREATE INDEX tasks_list ON tasks (user_id, task_list_id);

CREATE TABLE task_numbers (          -- phoneNumberIds of a scheduled call
  user_id bigint NOT NULL, task_id bigint NOT NULL, basic_info_id bigint NOT NULL,
  PRIMARY KEY (user_id, task_id, basic_info_id),
  FOREIGN KEY (user_id, task_id) REFERENCES tasks (user_id, id) ON DELETE CASCADE,
  FOREIGN KEY (user_id, basic_info_id) REFERENCES basic_infos (user_id, id) ON DELETE CASCADE
);

---------------------------------------------------------------------------------------------- devices and events

CREATE TABLE devices (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  device_id text NOT NULL,           -- as registered
  canonical text NOT NULL,           -- lower-case hex of an APNs token, else device_id: what look-ups compare
  apns_token text,                   -- set when canonical is an APNs token
  decoded boolean NOT NULL DEFAULT false,
  name text,
  active boolean NOT NULL DEFAULT true,
  session_id bigint,                 -- the session that registered it
  generation bigint NOT NULL DEFAULT 0,    -- raised by each socket of the device; the newest one speaks
  synced_seq bigint NOT NULL DEFAULT 0,    -- proven by the device (section 9)
  synced_at bigint NOT NULL DEFAULT 0,
  registered_at bigint NOT NULL DEFAULT now_ms(),
  UNIQUE (user_id, id),
  CONSTRAINT devices_canonical_key UNIQUE (user_id, canonical),
  FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE SET NULL (session_id)
);
CREATE UNIQUE INDEX devices_apns_token ON devices (apns_token) WHERE active;
CREATE INDEX devices_session ON devices (user_id, session_id);

CREATE TABLE trigger_devices (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  device_id text NOT NULL,
  salt bytea NOT NULL,               -- token = keyed hash over it; the key is not in the database
  key_id text NOT NULL,
  token_hash bytea NOT NULL UNIQUE,
  switchboard boolean NOT NULL DEFAULT false,
  active boolean NOT NULL DEFAULT true,
  session_id bigint,
  clock_skews bigint[] NOT NULL DEFAULT '{}',   -- received - time of its last 20 events
  UNIQUE (user_id, id),
  CONSTRAINT trigger_devices_device_id_key UNIQUE (user_id, device_id),
  FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE SET NULL (session_id)
);
CREATE INDEX trigger_devices_session ON trigger_devices (user_id, session_id);

CREATE DOMAIN event_type AS text     -- a domain, not a CHECK of the table: PostgreSQL would read that anew at every event
  CHECK (VALUE IN ('call-incoming', 'call-outgoing', 'email-incoming', 'email-outgoing', 'im-incoming', 'im-outgoing', 'sms-incoming', 'sms-outgoing'));

CREATE TABLE interactions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  trigger_device_id bigint,          -- of the owner or, for a switchboard, of a colleague; kept for "progress"
  type event_type NOT NULL,
  data text,
  time bigint NOT NULL,
  sort_time bigint NOT NULL,         -- least(time, received): a clock ahead does not push an event to the top for ever
  received bigint NOT NULL DEFAULT now_ms(),
  receiver_id text, duration int, status text, custom_tags text,
  basic_info_id bigint, person_id bigint, organization_id bigint,
  late boolean NOT NULL DEFAULT false,
  notice text,                       -- the notification as it was pushed (JSON text), for replay
  created_seq bigint NOT NULL,       -- number it was created with
  seq bigint NOT NULL,               -- number it was last changed with
  UNIQUE (user_id, id),
  FOREIGN KEY (trigger_device_id) REFERENCES trigger_devices (id) ON DELETE SET NULL,
  FOREIGN KEY (user_id, basic_info_id) REFERENCES basic_infos (user_id, id) ON DELETE SET NULL (basic_info_id),
  FOREIGN KEY (user_id, person_id) REFERENCES contacts (user_id, id) ON DELETE SET NULL (person_id),
  FOREIGN KEY (user_id, organization_id) REFERENCES contacts (user_id, id) ON DELETE SET NULL (organization_id)
);
CREATE INDEX interactions_order ON interactions (user_id, (-sort_time), id);
CREATE INDEX interactions_seq ON interactions (user_id, seq);        -- created_seq is never above seq: no index of its own
CREATE INDEX interactions_person ON interactions (user_id, person_id) WHERE person_id IS NOT NULL;
CREATE INDEX interactions_organization ON interactions (user_id, organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX interactions_basic_info ON interactions (user_id, basic_info_id) WHERE basic_info_id IS NOT NULL;
CREATE INDEX interactions_trigger ON interactions (trigger_device_id);

CREATE TABLE interaction_systems (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL, interaction_id bigint NOT NULL,
  system_id text NOT NULL, thread_id text, entity_id text,
  CHECK (num_nonnulls(thread_id, entity_id) >= 1),
  FOREIGN KEY (user_id, interaction_id) REFERENCES interactions (user_id, id) ON DELETE CASCADE
);
CREATE INDEX interaction_systems_interaction ON interaction_systems (user_id, interaction_id);

CREATE TABLE event_keys (            -- what makes a repeated event known (contract 6.2); expires
  user_id bigint NOT NULL,
  key text NOT NULL,
  interaction_id bigint,             -- NULL: the first one was deleted meanwhile
  body_hash bytea,                   -- of an Idempotency-Key: another body under the same key is refused
  event_time bigint NOT NULL,        -- `time` of the first one
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (key, user_id),        -- an Idempotency-Key is looked up whoever the switchboard's event went to
  FOREIGN KEY (user_id, interaction_id) REFERENCES interactions (user_id, id) ON DELETE SET NULL (interaction_id)
);
CREATE INDEX event_keys_at ON event_keys USING brin (at);
CREATE INDEX event_keys_interaction ON event_keys (user_id, interaction_id);

CREATE TABLE deliveries (            -- one row per event and receiving device: what happened to it
  interaction_id bigint NOT NULL,
  device_id bigint NOT NULL,
  user_id bigint NOT NULL,
  seq bigint NOT NULL,               -- the event's number
  stored_at timestamptz NOT NULL DEFAULT now(),
  queued_at timestamptz, sent_at timestamptz, acked_at timestamptz, shown_at timestamptz, failed_at timestamptz,
  failed text,                       -- why, when it failed
  pushed_at timestamptz,             -- handed to Apple
  due_at timestamptz,                -- when the fallback is due
  lease_node text, lease_generation bigint, lease_until timestamptz,
  PRIMARY KEY (interaction_id, device_id),
  FOREIGN KEY (user_id, interaction_id) REFERENCES interactions (user_id, id) ON DELETE CASCADE,
  FOREIGN KEY (user_id, device_id) REFERENCES devices (user_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);
CREATE INDEX deliveries_open ON deliveries (user_id, device_id, seq) WHERE sent_at IS NULL AND failed_at IS NULL;
CREATE INDEX deliveries_device ON deliveries (user_id, device_id, seq);

---------------------------------------------------------------------------------------------- the change log

CREATE DOMAIN change_action AS text CHECK (VALUE IN ('insert', 'update', 'delete'));

CREATE TABLE activities (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,      -- the owner: whose data
  actor_id bigint,                   -- who did it (no key: the account may be gone)
  company_id bigint,                 -- the owner's company then
  action change_action NOT NULL,
  entity_type text NOT NULL,
  entity_id bigint NOT NULL,
  old_state json, new_state json,
  time bigint NOT NULL DEFAULT now_ms()
);
CREATE INDEX activities_user ON activities (user_id, (-time), id);
CREATE INDEX activities_company ON activities (company_id, (-time), id) WHERE company_id IS NOT NULL;

CREATE TABLE tombstones (
  user_id bigint NOT NULL REFERENCES users,
  entity_type text NOT NULL CHECK (entity_type IN ('contact', 'deal', 'interaction', 'note', 'tasklist', 'task')),
  entity_id bigint NOT NULL,
  seq bigint NOT NULL,
  merged_into bigint,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, entity_type, entity_id)
);
CREATE INDEX tombstones_seq ON tombstones (user_id, seq);
CREATE INDEX tombstones_at ON tombstones (at);

CREATE TABLE changes_at (            -- which number was current at which time: maps `since` onto a number
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  at bigint NOT NULL,
  seq bigint NOT NULL,
  PRIMARY KEY (user_id, at)
);

-- The first act of whatever changes a user's data: locks the counters (ascending), raises each by one. From here to the
-- end of the transaction `number_of(user)` is the number of this change.
CREATE FUNCTION take(owners bigint[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM 1 FROM counters c WHERE c.user_id = ANY(owners) ORDER BY c.user_id FOR NO KEY UPDATE;
  UPDATE counters c SET seq = c.seq + 1, at = greatest(now_ms(), c.at + 1) WHERE c.user_id = ANY(owners);
END $$;

CREATE FUNCTION number_of(owner bigint) RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT seq FROM counters WHERE user_id = owner $$;
CREATE FUNCTION time_of(owner bigint) RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT at FROM counters WHERE user_id = owner $$;

-- A transaction-wide note: statements of one round trip hand each other the old state and a new id through it.
CREATE FUNCTION keep(name text, value text) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT set_config('interactd.' || name, value, true) $$;
CREATE FUNCTION kept(name text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('interactd.' || name, true), '') $$;

-- One line of the activity log; states over 64 KiB are left out.
CREATE FUNCTION record(owner bigint, actor bigint, action text, entity_type text, entity_id bigint, old_state json, new_state json)
RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO activities (user_id, actor_id, company_id, action, entity_type, entity_id, old_state, new_state)
  SELECT owner, actor, (SELECT u.company_id FROM users u WHERE u.id = owner), action, entity_type, entity_id,
    CASE WHEN octet_length(old_state::text) <= 65536 THEN old_state END, CASE WHEN octet_length(new_state::text) <= 65536 THEN new_state END
$$;
