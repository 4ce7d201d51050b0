-- What a resume needs (contract section 7): retracts, one chain of numbers for all that sockets are told, and an epoch that
-- does not outlive the database it was counted in.

-- A pop-up that is over: somebody answered or dismissed it. `device_id` is the device that dismissed it.
CREATE TABLE retracts (
  user_id bigint NOT NULL,
  interaction_id bigint NOT NULL,
  seq bigint NOT NULL,
  device_id bigint,
  PRIMARY KEY (user_id, interaction_id),
  FOREIGN KEY (user_id, interaction_id) REFERENCES interactions (user_id, id) ON DELETE CASCADE
);
CREATE INDEX retracts_seq ON retracts (user_id, seq);

ALTER TABLE deliveries ADD COLUMN dismissed_at timestamptz;

-- The number from which on a device has deliveries: what came before it was registered, or while it was inactive, has none.
ALTER TABLE devices ADD COLUMN since_seq bigint NOT NULL DEFAULT 0;
CREATE FUNCTION device_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.since_seq := coalesce(number_of(NEW.user_id), 0); RETURN NEW; END $$;
CREATE TRIGGER devices_begin BEFORE INSERT ON devices FOR EACH ROW EXECUTE FUNCTION device_begins();
CREATE TRIGGER devices_begin_again BEFORE UPDATE OF active ON devices FOR EACH ROW WHEN (NEW.active AND NOT OLD.active)
  EXECUTE FUNCTION device_begins();

-- `event_seq` is the number of the last thing told to sockets: an event (the intake sets it), an update of an interaction, a
-- retract; `event_prev` the one before it. So whoever has told all up to `event_prev` may go on with `event_seq`.
CREATE FUNCTION chained() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE counters c SET event_prev = c.event_seq, event_seq = z.seq
    FROM (SELECT n.user_id, max(n.seq) AS seq FROM fresh n GROUP BY n.user_id) z
    WHERE c.user_id = z.user_id AND c.event_seq < z.seq;
  RETURN NULL;
END $$;
CREATE TRIGGER interactions_chained AFTER UPDATE ON interactions REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION chained();
CREATE TRIGGER retracts_chained AFTER INSERT ON retracts REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION chained();
UPDATE counters c SET event_seq = z.seq FROM (SELECT i.user_id, max(i.seq) AS seq FROM interactions i GROUP BY i.user_id) z
  WHERE c.user_id = z.user_id AND c.event_seq < z.seq;

-- Which database this is: another cluster, another line of its history (a restore to a point in time, a standby that took
-- over) or another copy of the tables (a restored dump) is another one. Its numbers may mean other things than they did.
CREATE TABLE lineage (one boolean PRIMARY KEY DEFAULT true CHECK (one), identity text NOT NULL);

-- `files` says whatever the daemon knows of the cluster's files: a copy of them has other inodes.
CREATE FUNCTION identity_now(files text) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT concat_ws('/', (SELECT s.system_identifier FROM pg_control_system() s), left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()), 'counters'::regclass::oid, files)
$$;

-- Asked at each start: whether this is another database than at the last start. If so, every user's epoch is new.
CREATE FUNCTION renew_epochs(files text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE known text; now_is text := identity_now(files);
BEGIN
  INSERT INTO lineage (identity) VALUES (now_is) ON CONFLICT DO NOTHING;
  SELECT l.identity INTO known FROM lineage l FOR UPDATE;
  IF known = now_is THEN RETURN false; END IF;
  UPDATE counters SET epoch = substr(md5(random()::text || clock_timestamp()::text || user_id), 1, 16);
  UPDATE lineage SET identity = now_is;
  RETURN true;
END $$;
