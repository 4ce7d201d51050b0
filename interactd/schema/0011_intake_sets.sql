-- A batch of events is read one by one and written together: each statement stores all of them (0002_intake.sql has the rest).
--
-- Of one user there is at most one event in a set, so nothing that is read depends on what is still to be written: an event of a
-- user who is in the set already has the set written first. Whatever is refused fails the whole transaction, and the daemon then
-- sends its events again, each in a transaction of its own.

DROP FUNCTION intake(jsonb, bigint[], boolean);
DROP FUNCTION intake_one(intake_event, intake_source, bigint);
DROP FUNCTION store_event(intake_event, intake_source, bigint, bigint, text[], intake_match);
ALTER TYPE intake_answer DROP ATTRIBUTE problem;

-- An event that was read. With an outcome nothing is left to do; without one it is to be written.
CREATE TYPE intake_entry AS (
  n int, outcome text, target bigint, owner bigint, company bigint, device bigint, device_id text,
  first bigint, entity text,         -- the interaction that was known already
  type event_type, data text, happened bigint, received bigint, late boolean,
  receiver_id text, duration int, status text, custom_tags text, systems jsonb, keys text[], body text,
  basic_info_id bigint, person_id bigint, person_name text, organization_id bigint, organization_name text, found json, tentatives json
);

---------------------------------------------------------------------------------------------- an interaction as the API shows it

CREATE FUNCTION interaction_from(id bigint, type text, data text, happened bigint, receiver_id text, duration int, status text, custom_tags text,
  basic_info_id bigint, person json, organization json, systems json) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_strip_nulls(json_build_object('id', id, 'type', type, 'data', data, 'time', happened, 'receiverId', receiver_id,
    'duration', duration, 'status', status, 'customTags', custom_tags, 'basicInfoId', basic_info_id,
    'organization', organization, 'person', person, 'externalSystems', systems))
$$;

CREATE OR REPLACE FUNCTION interaction_object(i interactions, person json, organization json, systems json) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT interaction_from(i.id, i.type, i.data, i.time, i.receiver_id, i.duration, i.status, i.custom_tags, i.basic_info_id,
    person, organization, systems)
$$;

-- What a switchboard learns of an event it routed to a colleague: nothing of the colleague's address book.
CREATE FUNCTION routed_object(id bigint, type text, data text, happened bigint, receiver_id text) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT interaction_from(id, type, data, happened, receiver_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
$$;

CREATE OR REPLACE FUNCTION routed_json(i interactions) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT routed_object(i.id, i.type, i.data, i.time, i.receiver_id)
$$;

CREATE FUNCTION systems_object(systems jsonb) RETURNS json LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF systems IS NULL THEN RETURN '[]'; END IF;
  RETURN (SELECT json_agg(json_build_object('systemId', x.system_id, 'threadId', x.thread_id, 'entityId', x.entity_id))
    FROM jsonb_to_recordset(systems) x (system_id text, thread_id text, entity_id text));
END $$;

---------------------------------------------------------------------------------------------- one event is read

-- An event of an authenticated device, whose counters are locked: what it repeats, whom it is from.
CREATE FUNCTION intake_read(e intake_event, s intake_source, target bigint) RETURNS intake_entry LANGUAGE plpgsql VOLATILE AS $$
DECLARE p intake_entry; i interactions; k event_keys; m intake_match; received bigint := now_ms();
BEGIN
  p.n := e.n;
  IF e.time < 946684800000 OR e.time > received + 86400000 THEN
    p.outcome := 'refused';
    RETURN p;
  END IF;
  p.happened := coalesce(e.time, received);
  p.keys := e.marks;
  IF e.idem IS NOT NULL THEN p.keys := p.keys || ('i' || s.device || ':' || e.idem); END IF;
  IF e.call IS NOT NULL THEN p.keys := p.keys || ('c' || s.device || ':' || e.call); END IF;
  IF p.keys IS NOT NULL THEN
    k := earlier(target, p.keys, p.happened);
    IF k.key IS NOT NULL THEN
      p.outcome := CASE WHEN k.key LIKE 'i%' AND k.body_hash <> decode(e.body, 'hex') THEN 'conflict' WHEN k.interaction_id IS NULL THEN 'deleted' ELSE 'known' END;
      IF p.outcome = 'known' THEN
        SELECT * INTO i FROM interactions v WHERE v.user_id = k.user_id AND v.id = k.interaction_id;
        p.first := i.id;
        p.entity := CASE WHEN k.user_id = s.owner THEN interaction_json(i) ELSE routed_json(i) END;
      END IF;
      RETURN p;
    END IF;
  END IF;
  IF e.canon IS NOT NULL THEN
    m := match_of(target, s, e);
    IF m.excluded THEN
      UPDATE basic_infos b SET excluded_count = b.excluded_count + 1, last_excluded = received
        WHERE b.user_id = target AND b.tail = e.tail AND b.canon = e.canon AND b.ext = e.ext AND b.excluded;
      p.outcome := 'excluded';
      RETURN p;
    ELSIF m.keep THEN
      INSERT INTO basic_infos AS b (user_id, type, value, canon, ext, nsn, tail, canon_version)
        VALUES (target, e.kind, e.data, e.canon, e.ext, e.nsn, e.tail, e.canon_version) RETURNING b.id INTO m.basic_info_id;
    END IF;
  END IF;
  PERFORM note_clock(s.device, s.usual, CASE WHEN e.sent_at IS NOT NULL THEN received - e.sent_at WHEN NOT e.listed THEN received - e.time END);
  RETURN (e.n, NULL, target, s.owner, s.company, s.device, s.device_id, NULL, NULL, e.type, e.data, p.happened, received, lag(e, s, received) > 120000,
    e.receiver_id, e.duration, e.status, e.custom_tags, e.systems, p.keys, e.body,
    m.basic_info_id, m.person_id, m.person_name, m.organization_id, m.organization_name, m.found, m.tentatives)::intake_entry;
END $$;

---------------------------------------------------------------------------------------------- several events are written

CREATE FUNCTION intake_write(entries intake_entry[]) RETURNS SETOF intake_answer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN QUERY
  WITH numbered AS (
    UPDATE counters c SET seq = c.seq + 1, at = greatest(now_ms(), c.at + 1), event_prev = c.event_seq, event_seq = c.seq + 1
    FROM unnest(entries) v WHERE c.user_id = v.target RETURNING v.*, c.seq, c.event_prev AS prev),
  w AS MATERIALIZED (
    SELECT x.*, interaction_from(x.id, x.type, x.data, x.happened, x.receiver_id, x.duration, x.status, x.custom_tags, x.basic_info_id,
        named(x.person_id, x.person_name), named(x.organization_id, x.organization_name), systems_object(x.systems)) AS whole,
      json_strip_nulls(json_build_object('type', x.type, 'data', x.data, 'match', x.found, 'tentatives', x.tentatives, 'interactionId', x.id,
        'time', x.happened, 'seq', x.seq, 'late', CASE WHEN x.late THEN true END))::text AS frame
    FROM (SELECT q.*, nextval('interactions_id_seq') AS id, ARRAY(
        SELECT d.id FROM devices d WHERE d.user_id = q.target AND d.active AND q.device_id NOT IN (d.canonical, d.device_id)) AS devices
      FROM numbered q) x),
  made AS (
    INSERT INTO interactions AS v (id, user_id, trigger_device_id, type, data, time, sort_time, received, receiver_id, duration, status, custom_tags,
        basic_info_id, person_id, organization_id, late, notice, created_seq, seq) OVERRIDING SYSTEM VALUE
      SELECT w.id, w.target, w.device, w.type, w.data, w.happened, least(w.happened, w.received), w.received, w.receiver_id, w.duration, w.status,
        w.custom_tags, w.basic_info_id, w.person_id, w.organization_id, w.late, w.frame, w.seq, w.seq FROM w),
  log AS (
    INSERT INTO activities (user_id, actor_id, company_id, action, entity_type, entity_id, new_state, time)
      SELECT w.target, w.owner, w.company, 'insert', 'interaction', w.id, CASE WHEN octet_length(w.whole::text) <= 65536 THEN w.whole END, w.received FROM w),
  known AS (
    INSERT INTO event_keys AS k (user_id, key, interaction_id, body_hash, event_time)
      SELECT w.target, z, w.id, CASE WHEN z LIKE 'i%' THEN decode(w.body, 'hex') END, w.happened FROM w CROSS JOIN unnest(w.keys) z
      ON CONFLICT (key, user_id) DO UPDATE SET interaction_id = excluded.interaction_id, body_hash = excluded.body_hash,
        event_time = excluded.event_time, at = excluded.at),
  systems AS (
    INSERT INTO interaction_systems (user_id, interaction_id, system_id, thread_id, entity_id)
      SELECT w.target, w.id, x.system_id, x.thread_id, x.entity_id
      FROM w CROSS JOIN jsonb_to_recordset(w.systems) x (system_id text, thread_id text, entity_id text)),
  out AS (
    INSERT INTO deliveries (interaction_id, device_id, user_id, seq, due_at)      -- push_due: 0013_push.sql
      SELECT w.id, d, w.target, w.seq, push_due(d, w.type, w.late) FROM w CROSS JOIN unnest(w.devices) d)
  SELECT w.n, 'stored', w.target, w.id, w.seq, w.prev, w.late,
    CASE WHEN w.target = w.owner THEN w.whole ELSE routed_object(w.id, w.type, w.data, w.happened, w.receiver_id) END::text,
    w.frame, w.devices, w.owner, NULL::boolean, NULL, NULL FROM w;
END $$;

-- `owners`: whose counters to lock. `waiting`: wait for them; else events of users whose counter is held are answered `busy`.
CREATE FUNCTION intake(events jsonb, owners bigint[], waiting boolean) RETURNS SETOF intake_answer LANGUAGE plpgsql VOLATILE AS $$
DECLARE e intake_event; s intake_source; o record; p intake_entry; entries intake_entry[] := '{}'; users bigint[] := '{}'; locked bigint[];
  target bigint; outcome text;
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
    p := NULL;
    IF s.switchboard AND e.receiver_id IS NOT NULL THEN
      SELECT r.id INTO target FROM users r JOIN user_roles q ON q.user_id = s.owner AND q.role = 'customer_admin'
        WHERE lower(r.email) = lower(e.receiver_id) AND r.active AND r.company_id = s.company;
      target := coalesce(target, s.owner);
    END IF;
    IF s.device IS NULL THEN
      outcome := 'unknown';
    ELSIF (e.owner, e.target) IS DISTINCT FROM (s.owner, target) OR (e.region, e.area_code) IS DISTINCT FROM (s.region, s.area_code) THEN
      outcome := 'again';
    ELSIF NOT (s.owner = ANY (locked) AND target = ANY (locked)) THEN
      outcome := 'busy';
    ELSE
      IF s.owner = ANY (users) OR target = ANY (users) THEN
        RETURN QUERY SELECT * FROM intake_write(entries);
        entries := '{}';
        users := '{}';
      END IF;
      p := intake_read(e, s, target);
      IF p.outcome IS NULL THEN
        entries := entries || p;
        users := users || s.owner || target;
        CONTINUE;
      END IF;
      outcome := p.outcome;
    END IF;
    RETURN NEXT (e.n, outcome, target, p.first, NULL, NULL, NULL, p.entity, NULL, NULL, s.owner, s.switchboard, s.region, s.area_code)::intake_answer;
  END LOOP;
  IF cardinality(entries) > 0 THEN
    RETURN QUERY SELECT * FROM intake_write(entries);
  END IF;
END $$;
