-- The event: who sent it, whether it is known, whose number it is, stored with all that hangs on it (contract section 6).
--
-- One call of intake() takes a batch. Its first act locks the counters of the users concerned, ascending; every other
-- writer of a user's data does the same first. So what follows sees all that was committed before (the function is VOLATILE:
-- each statement has a fresh snapshot) and nothing of these users moves under it: no key is stored twice, no number is
-- given out of order, no contact found here is gone at the end. One statement with data-modifying CTEs is not enough: its
-- snapshot is older than its wait for the locks.

-- An event as the daemon sends it. What the daemon could only guess (`owner`, `target`, `region`, `area_code`) is compared.
CREATE TYPE intake_event AS (
  n int,                             -- place in the batch
  hash text,                         -- SHA-256 of the trigger token, hexadecimal
  owner bigint, target bigint,       -- whose token it is, and whose event: their counters are locked
  region text, area_code text,       -- of the owner's company, by which the form below was made
  type event_type, data text, "time" bigint, receiver_id text, duration int, status text, custom_tags text, systems jsonb,
  canon text, ext text, nsn text, tail text, canon_version int, kind text,   -- of `data`; kind of the basicInfo to keep
  sent_at bigint,
  listed boolean,                    -- comes in an array
  idem text, body text,              -- digest of Idempotency-Key and position; of the body (hexadecimal)
  call text,                         -- digest of type, data and time of a call that has no other key
  marks text[]                       -- digests of systemId, entityId, type, canonical data and receiver
);

-- The trigger device behind a token, and its owner.
CREATE TYPE intake_source AS (
  device bigint, device_id text, switchboard boolean, usual bigint, owner bigint, company bigint, region text, area_code text,
  lines boolean                      -- the company has lines of its own
);

-- stored, known, deleted (the first one), excluded, conflict (key with another body), unknown (token), refused (time),
-- again (the guess was wrong: here is the right one), busy (a counter is held by somebody else), failed (SQLSTATE in problem)
CREATE TYPE intake_answer AS (
  n int, outcome text, user_id bigint, id bigint, seq bigint, prev bigint, late boolean, entity text, frame text, devices bigint[],
  problem text, owner bigint, switchboard boolean, region text, area_code text
);

-- A basicInfo whose canonical form may be the caller's.
CREATE TYPE intake_candidate AS (
  info bigint, type text, excluded boolean, exact boolean, contact bigint, contact_type text, name text, oneself boolean,
  copy boolean                       -- shared by somebody else
);

CREATE TYPE intake_match AS (
  excluded boolean, basic_info_id bigint, person_id bigint, person_name text, organization_id bigint, organization_name text,
  found json, tentatives json, keep boolean
);

---------------------------------------------------------------------------------------------- an interaction as the API shows it

CREATE FUNCTION interaction_object(i interactions, person json, organization json, systems json) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_strip_nulls(json_build_object('id', i.id, 'type', i.type, 'data', i.data, 'time', i.time, 'receiverId', i.receiver_id,
    'duration', i.duration, 'status', i.status, 'customTags', i.custom_tags, 'basicInfoId', i.basic_info_id,
    'organization', organization, 'person', person, 'externalSystems', systems))
$$;

CREATE FUNCTION named(id bigint, name text) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN id IS NOT NULL THEN json_build_object('id', id, 'displayName', name) END
$$;

CREATE FUNCTION interaction_json(i interactions) RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE person text; organization text; systems json;
BEGIN
  SELECT (SELECT c.display_name FROM contacts c WHERE c.user_id = i.user_id AND c.id = i.person_id),
    (SELECT c.display_name FROM contacts c WHERE c.user_id = i.user_id AND c.id = i.organization_id),
    (SELECT json_agg(json_build_object('systemId', s.system_id, 'threadId', s.thread_id, 'entityId', s.entity_id) ORDER BY s.id)
      FROM interaction_systems s WHERE s.user_id = i.user_id AND s.interaction_id = i.id)
    INTO person, organization, systems;
  RETURN interaction_object(i, named(i.person_id, person), named(i.organization_id, organization), coalesce(systems, '[]'));
END $$;

-- What a switchboard learns of an event it routed to a colleague: nothing of the colleague's address book.
CREATE FUNCTION routed_json(i interactions) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_strip_nulls(json_build_object('id', i.id, 'type', i.type, 'data', i.data, 'time', i.time, 'receiverId', i.receiver_id))
$$;

---------------------------------------------------------------------------------------------- whose number it is

-- These are STABLE: called from a VOLATILE function they see what it sees at the call, and take no snapshots of their own.

-- One contact in a notification. `organization`: the one found with a person; else the person's only one.
CREATE FUNCTION match_json(owner bigint, b intake_candidate, organization bigint, reason text) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE picture text; organizations text[];
BEGIN
  SELECT CASE b.contact_type WHEN 'organization' THEN ARRAY[b.name] ELSE ARRAY(
      SELECT o.display_name FROM contact_links l JOIN contacts o ON o.user_id = l.user_id AND o.id = l.organization_id
      WHERE l.user_id = owner AND l.person_id = b.contact AND l.organization_id = coalesce(organization, l.organization_id) LIMIT 2) END,
    (SELECT current_setting('interactd.public_url', true) || '/v2/pictures/' || p.id || '/image?k=' || p.key
      FROM pictures p WHERE p.user_id = owner AND p.contact_id = b.contact AND p.is_default)
    INTO organizations, picture;
  RETURN json_build_object('contactId', b.contact, 'contactName', b.name, 'contactType', b.contact_type, 'basicInfoId', b.info,
    'basicInfoType', b.type, 'organizationName', CASE WHEN cardinality(organizations) = 1 THEN organizations[1] END, 'picture', picture,
    'reason', reason);
END $$;

-- Of the contacts that have exactly this number, the one meant: one contact, or one person with organizations it belongs to.
-- Nothing is found when that is not clear.
CREATE FUNCTION decided(owner bigint, candidates intake_candidate[]) RETURNS intake_match LANGUAGE plpgsql STABLE AS $$
DECLARE m intake_match; b intake_candidate; person intake_candidate; organization intake_candidate; organizations bigint[] := '{}';
BEGIN
  FOREACH b IN ARRAY candidates LOOP -- in the order of the basicInfos' ids
    IF b.contact_type = 'person' THEN
      IF person.contact <> b.contact THEN RETURN NULL; END IF;
      person := coalesce(person, b);
    ELSIF b.contact <> ALL (organizations) THEN
      organization := b;
      organizations := organizations || b.contact;
    END IF;
  END LOOP;
  IF cardinality(organizations) > (person.contact IS NULL)::int THEN
    IF cardinality(organizations) <> (
        SELECT count(*) FROM contact_links l WHERE l.user_id = owner AND l.person_id = person.contact AND l.organization_id = ANY (organizations)) THEN
      RETURN NULL;
    END IF;
  END IF;
  IF cardinality(organizations) <> 1 THEN organization := NULL; END IF;
  b := CASE WHEN person.contact IS NULL THEN organization ELSE person END;
  m.basic_info_id := b.info;
  m.person_id := person.contact;
  m.person_name := person.name;
  m.organization_id := organization.contact;
  m.organization_name := organization.name;
  IF b.contact IS NOT NULL THEN m.found := match_json(owner, b, organization.contact, 'exact'); END IF;
  RETURN m;
END $$;

-- Who it may be, best first, at most ten. Exact: all who have this number; else who has one like it.
CREATE FUNCTION tentatives(owner bigint, company bigint, e intake_event, exact boolean) RETURNS json[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(
    SELECT match_json(owner, z.candidate, NULL, (ARRAY['several', 'extension', 'switchboard', 'national', 'suffix'])[z.rank])
    FROM (
      SELECT DISTINCT ON (q.contact_id) q.rank, coalesce(c.shared_by <> owner, false) AS copy, q.contact_id,
        ROW(q.id, q.type, q.excluded, exact, c.id, c.contact_type, c.display_name, c.oneself, c.shared_by <> owner)::intake_candidate AS candidate
      FROM (
        SELECT b.*, CASE WHEN b.canon = e.canon AND b.ext = e.ext THEN 1 WHEN b.canon = e.canon THEN 2 WHEN b.nsn = e.nsn THEN 4
          WHEN length(b.tail) = 8 THEN 5 END AS rank
        FROM basic_infos b WHERE b.user_id = owner AND b.tail = e.tail
        UNION ALL
        SELECT b.*, 3 FROM basic_infos b WHERE b.user_id = owner AND e.canon LIKE '+%' AND length(b.canon) >= 7
          AND b.canon = ANY (ARRAY[left(e.canon, -1), left(e.canon, -2), left(e.canon, -3), left(e.canon, -4), left(e.canon, -5)])) q
      JOIN contacts c ON c.user_id = q.user_id AND c.id = q.contact_id
      WHERE (q.rank = 1) = exact AND (exact OR NOT c.oneself) AND (q.rank <> 3 OR c.contact_type = 'organization')
        AND NOT EXISTS (SELECT 1 FROM company_lines w WHERE w.company_id = company AND w.canon = q.canon AND w.ext = q.ext)
      ORDER BY q.contact_id, q.rank, q.id) z
    ORDER BY z.rank, z.copy, z.contact_id LIMIT 10);
END $$;

-- Nobody has exactly this number: who has one like it, and the number itself if it called before.
CREATE FUNCTION stranger(owner bigint, company bigint, e intake_event, unassigned bigint, near boolean) RETURNS intake_match LANGUAGE plpgsql STABLE AS $$
DECLARE m intake_match; t json[] := '{}';
BEGIN
  IF near OR e.canon LIKE '+%' THEN t := tentatives(owner, company, e, false); END IF;
  IF unassigned IS NOT NULL AND cardinality(t) < 10 THEN
    t := t || json_build_object('contactName', 'Unknown', 'basicInfoId', unassigned, 'reason', 'unassigned');
  END IF;
  IF cardinality(t) > 0 THEN m.tentatives := array_to_json(t); END IF;
  m.basic_info_id := unassigned;
  m.keep := unassigned IS NULL;
  RETURN m;
END $$;

-- The rules of contract 6.4, in order.
CREATE FUNCTION match_of(owner bigint, s intake_source, e intake_event) RETURNS intake_match LANGUAGE plpgsql STABLE AS $$
DECLARE m intake_match; b intake_candidate; candidates intake_candidate[]; exact intake_candidate[]; unassigned bigint; own boolean := false;
BEGIN
  candidates := ARRAY(SELECT ROW(o.id, o.type, o.excluded, o.canon = e.canon AND o.ext = e.ext, c.id, c.contact_type, c.display_name, c.oneself,
      c.shared_by <> owner)::intake_candidate
    FROM basic_infos o LEFT JOIN contacts c ON c.user_id = o.user_id AND c.id = o.contact_id WHERE o.user_id = owner AND o.tail = e.tail);
  IF s.lines THEN own := EXISTS (SELECT 1 FROM company_lines q WHERE q.company_id = s.company AND q.canon = e.canon AND q.ext = e.ext); END IF;
  FOREACH b IN ARRAY candidates LOOP
    IF b.exact THEN
      IF b.excluded THEN m.excluded := true; RETURN m; END IF;
      IF b.contact IS NULL THEN unassigned := b.info; ELSE exact := exact || b; END IF;
      own := own OR coalesce(b.oneself, false);
    END IF;
  END LOOP;
  IF own THEN                        -- one's own number never matches somebody else
    RETURN decided(owner, ARRAY(SELECT z FROM unnest(exact) z WHERE z.oneself ORDER BY z.info));
  ELSIF exact IS NULL THEN
    RETURN stranger(owner, s.company, e, unassigned, candidates <> '{}');
  END IF;
  IF cardinality(exact) > 1 THEN exact := ARRAY(SELECT z FROM unnest(exact) z ORDER BY z.info); END IF;
  m := decided(owner, exact);
  IF m.found IS NULL THEN            -- one's own contact outranks a copy that somebody else shared
    m := decided(owner, ARRAY(SELECT z FROM unnest(exact) z WHERE z.copy IS NOT TRUE ORDER BY z.info));
  END IF;
  IF m.found IS NULL THEN m.tentatives := array_to_json(tentatives(owner, s.company, e, true)); END IF;
  RETURN m;
END $$;

---------------------------------------------------------------------------------------------- one event

-- The key of an earlier equal event, if it still counts: of an Idempotency-Key 24 h since it came, whoever it was routed to;
-- of an external system's id 24 h around the event's time; of a call always.
CREATE FUNCTION earlier(target bigint, keys text[], happened bigint) RETURNS event_keys LANGUAGE plpgsql STABLE AS $$
DECLARE k event_keys;
BEGIN
  SELECT * INTO k FROM event_keys q
    WHERE q.key = ANY (keys) AND (q.user_id = target OR q.key LIKE 'i%') AND CASE left(q.key, 1)
      WHEN 'i' THEN q.at > now() - interval '24 hours' WHEN 'x' THEN abs(q.event_time - happened) <= 86400000 ELSE true END
    ORDER BY q.key LIKE 'i%' DESC, q.interaction_id LIMIT 1;
  RETURN k;
END $$;

-- How late the event is, in milliseconds. A phone's clock may be wrong: `sent_at` shows it by the same clock; a lone event is
-- measured by the least that this device's clock ever lagged in its last 20 events (a first event is never late).
CREATE FUNCTION lag(e intake_event, s intake_source, received bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN e.time IS NULL THEN 0 WHEN e.sent_at IS NOT NULL THEN e.sent_at - e.time WHEN e.listed THEN received - e.time
    ELSE received - e.time - least(s.usual, received - e.time) END
$$;

-- Remembers how far the device's clock is behind ours. Within five seconds of what is known nothing is written.
CREATE FUNCTION note_clock(device bigint, usual bigint, skew bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF skew IS NOT NULL AND (usual IS NULL OR abs(skew - usual) > 5000) THEN
    UPDATE trigger_devices d SET clock_skews = d.clock_skews[greatest(1, cardinality(d.clock_skews) - 18):] || skew WHERE d.id = device;
  END IF;
END $$;

CREATE FUNCTION store_event(e intake_event, s intake_source, target bigint, received bigint, keys text[], m intake_match) RETURNS intake_answer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE a intake_answer; systems json := '[]';
BEGIN
  IF m.keep THEN
    INSERT INTO basic_infos AS b (user_id, type, value, canon, ext, nsn, tail, canon_version)
      VALUES (target, e.kind, e.data, e.canon, e.ext, e.nsn, e.tail, e.canon_version) RETURNING b.id INTO m.basic_info_id;
  END IF;
  UPDATE counters c SET seq = c.seq + 1, at = greatest(now_ms(), c.at + 1), event_prev = c.event_seq, event_seq = c.seq + 1
    WHERE c.user_id = target RETURNING c.seq, c.event_prev INTO a.seq, a.prev;
  a.id := nextval('interactions_id_seq');
  a.late := lag(e, s, received) > 120000;
  IF e.systems IS NOT NULL THEN
    SELECT json_agg(json_build_object('systemId', x.system_id, 'threadId', x.thread_id, 'entityId', x.entity_id)) INTO systems
      FROM jsonb_to_recordset(e.systems) x (system_id text, thread_id text, entity_id text);
  END IF;
  a.frame := json_strip_nulls(json_build_object('type', e.type, 'data', e.data, 'match', m.found, 'tentatives', m.tentatives, 'interactionId', a.id,
    'time', coalesce(e.time, received), 'seq', a.seq, 'late', CASE WHEN a.late THEN true END));
  WITH made AS (
    INSERT INTO interactions AS v (id, user_id, trigger_device_id, type, data, time, sort_time, received, receiver_id, duration, status, custom_tags,
        basic_info_id, person_id, organization_id, late, notice, created_seq, seq) OVERRIDING SYSTEM VALUE
      VALUES (a.id, target, s.device, e.type, e.data, coalesce(e.time, received), least(e.time, received), received, e.receiver_id, e.duration, e.status,
        e.custom_tags, m.basic_info_id, m.person_id, m.organization_id, a.late, a.frame, a.seq, a.seq) RETURNING v AS i),
  entity AS MATERIALIZED (
    SELECT interaction_object(i, named(m.person_id, m.person_name), named(m.organization_id, m.organization_name), systems) AS full,
      CASE WHEN target <> s.owner THEN routed_json(i) END AS routed FROM made),
  log AS (
    INSERT INTO activities (user_id, actor_id, company_id, action, entity_type, entity_id, new_state, time)
      SELECT target, s.owner, s.company, 'insert', 'interaction', a.id, CASE WHEN octet_length(n.full::text) <= 65536 THEN n.full END, received FROM entity n),
  known AS (
    INSERT INTO event_keys AS k (user_id, key, interaction_id, body_hash, event_time)
      SELECT target, z, a.id, CASE WHEN z LIKE 'i%' THEN decode(e.body, 'hex') END, coalesce(e.time, received) FROM unnest(keys) z
      ON CONFLICT (key, user_id) DO UPDATE SET interaction_id = excluded.interaction_id, body_hash = excluded.body_hash,
        event_time = excluded.event_time, at = excluded.at),
  out AS (
    INSERT INTO deliveries AS v (interaction_id, device_id, user_id, seq) SELECT a.id, d.id, target, a.seq FROM devices d
      WHERE d.user_id = target AND d.active AND s.device_id NOT IN (d.canonical, d.device_id) RETURNING v.device_id)
  SELECT coalesce(n.routed, n.full), ARRAY(SELECT o.device_id FROM out o) INTO a.entity, a.devices FROM entity n;
  IF e.systems IS NOT NULL THEN
    INSERT INTO interaction_systems (user_id, interaction_id, system_id, thread_id, entity_id)
      SELECT target, a.id, x.system_id, x.thread_id, x.entity_id FROM jsonb_to_recordset(e.systems) x (system_id text, thread_id text, entity_id text);
  END IF;
  RETURN a;
END $$;

-- The answer to one event of an authenticated device, whose counters are locked.
CREATE FUNCTION intake_one(e intake_event, s intake_source, target bigint) RETURNS intake_answer LANGUAGE plpgsql VOLATILE AS $$
DECLARE a intake_answer; i interactions; k event_keys; m intake_match; keys text[] := e.marks; received bigint := now_ms();
BEGIN
  IF e.time < 946684800000 OR e.time > received + 86400000 THEN
    a.outcome := 'refused';
    RETURN a;
  END IF;
  IF e.idem IS NOT NULL THEN keys := keys || ('i' || s.device || ':' || e.idem); END IF;
  IF e.call IS NOT NULL THEN keys := keys || ('c' || s.device || ':' || e.call); END IF;
  IF keys IS NOT NULL THEN
    k := earlier(target, keys, coalesce(e.time, received));
    IF k.key IS NOT NULL THEN
      a.outcome := CASE WHEN k.key LIKE 'i%' AND k.body_hash <> decode(e.body, 'hex') THEN 'conflict' WHEN k.interaction_id IS NULL THEN 'deleted' ELSE 'known' END;
      IF a.outcome = 'known' THEN
        SELECT * INTO i FROM interactions v WHERE v.user_id = k.user_id AND v.id = k.interaction_id;
        a.id := i.id;
        a.entity := CASE WHEN k.user_id = s.owner THEN interaction_json(i) ELSE routed_json(i) END;
      END IF;
      RETURN a;
    END IF;
  END IF;
  IF e.canon IS NOT NULL THEN
    m := match_of(target, s, e);
    IF m.excluded THEN
      UPDATE basic_infos b SET excluded_count = b.excluded_count + 1, last_excluded = received
        WHERE b.user_id = target AND b.tail = e.tail AND b.canon = e.canon AND b.ext = e.ext AND b.excluded;
      a.outcome := 'excluded';
      RETURN a;
    END IF;
  END IF;
  a := store_event(e, s, target, received, keys, m);
  a.outcome := 'stored';
  PERFORM note_clock(s.device, s.usual, CASE WHEN e.sent_at IS NOT NULL THEN received - e.sent_at WHEN NOT e.listed THEN received - e.time END);
  RETURN a;
END $$;

---------------------------------------------------------------------------------------------- a batch

-- `owners`: whose counters to lock. `waiting`: wait for them; else events of users whose counter is held are answered `busy`.
CREATE FUNCTION intake(events jsonb, owners bigint[], waiting boolean) RETURNS SETOF intake_answer LANGUAGE plpgsql VOLATILE AS $$
DECLARE a intake_answer; e intake_event; s intake_source; o record; locked bigint[]; target bigint; lone boolean := jsonb_array_length(events) = 1;
BEGIN
  IF waiting THEN
    PERFORM 1 FROM counters c WHERE c.user_id = ANY (owners) ORDER BY c.user_id FOR NO KEY UPDATE;
    locked := owners;
  ELSE
    locked := ARRAY(SELECT c.user_id FROM counters c WHERE c.user_id = ANY (owners) ORDER BY c.user_id FOR NO KEY UPDATE SKIP LOCKED);
  END IF;
  FOR o IN
    SELECT v AS event, ROW(d.id, d.device_id, d.switchboard,
        CASE cardinality(d.clock_skews) WHEN 0 THEN NULL WHEN 1 THEN d.clock_skews[1] ELSE (SELECT min(z) FROM unnest(d.clock_skews) z) END,
        u.id, u.company_id, c.region, c.area_code, EXISTS (SELECT 1 FROM company_lines w WHERE w.company_id = c.id))::intake_source AS source
    FROM jsonb_populate_recordset(NULL::intake_event, events) v
      LEFT JOIN (trigger_devices d JOIN users u ON u.id = d.user_id AND u.active LEFT JOIN companies c ON c.id = u.company_id)
        ON d.token_hash = decode(v.hash, 'hex') AND d.active
    ORDER BY v.n
  LOOP
    e := o.event;
    s := o.source;
    target := s.owner;
    a := NULL;
    IF s.switchboard AND e.receiver_id IS NOT NULL THEN
      SELECT r.id INTO target FROM users r JOIN user_roles q ON q.user_id = s.owner AND q.role = 'customer_admin'
        WHERE lower(r.email) = lower(e.receiver_id) AND r.active AND r.company_id = s.company;
      target := coalesce(target, s.owner);
    END IF;
    IF s.device IS NULL THEN
      a.outcome := 'unknown';
    ELSIF (e.owner, e.target) IS DISTINCT FROM (s.owner, target) OR (e.region, e.area_code) IS DISTINCT FROM (s.region, s.area_code) THEN
      a.outcome := 'again';
    ELSIF NOT (s.owner = ANY (locked) AND target = ANY (locked)) THEN
      a.outcome := 'busy';
    ELSIF lone THEN
      a := intake_one(e, s, target);
    ELSE
      BEGIN                          -- nothing is kept of an event that fails, and its neighbours stay
        a := intake_one(e, s, target);
      EXCEPTION WHEN integrity_constraint_violation OR data_exception OR program_limit_exceeded THEN
        a.outcome := 'failed';
        a.problem := SQLSTATE;
      END;
    END IF;
    a.n := e.n;
    a.user_id := target;
    a.owner := s.owner;
    a.switchboard := s.switchboard;
    a.region := s.region;
    a.area_code := s.area_code;
    RETURN NEXT a;
  END LOOP;
END $$;
