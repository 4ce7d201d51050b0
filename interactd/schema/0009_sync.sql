-- Sync (contract section 9): what a device was given and has proven, and numbers for changes that are seen at a distance.

---------------------------------------------------------------------------------------------- what devices were given

-- Each answer tells a number and a time. The time maps `since` onto the number; its return proves that the answer arrived.
-- Numbers of another epoch mean nothing.
CREATE TABLE sync_marks (
  user_id bigint NOT NULL,
  device_id bigint NOT NULL,
  at bigint NOT NULL,
  seq bigint NOT NULL,
  epoch text NOT NULL,
  PRIMARY KEY (user_id, device_id, at),
  FOREIGN KEY (user_id, device_id) REFERENCES devices (user_id, id) ON DELETE CASCADE
);
CREATE INDEX sync_marks_at ON sync_marks (user_id, at);
DROP TABLE changes_at;
ALTER TABLE devices ADD COLUMN synced_epoch text;      -- of synced_seq

-- The device has what it was given with this time (and, where it is known, number): its mark moves, and never back.
CREATE FUNCTION sync_prove(owner bigint, device bigint, said_epoch text, said_seq bigint, said_at bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE devices d SET synced_seq = m.seq, synced_at = m.at, synced_epoch = m.epoch FROM sync_marks m
    WHERE m.user_id = owner AND m.device_id = device AND m.at = said_at AND m.epoch = said_epoch AND m.seq = coalesce(said_seq, m.seq)
      AND d.user_id = owner AND d.id = device AND (d.synced_epoch IS DISTINCT FROM m.epoch OR d.synced_at < m.at);
  RETURN FOUND;
END $$;

CREATE TYPE sync_span AS (device bigint, since bigint, upto bigint, at bigint, epoch text);

-- Begins an answer: `upto` is the user's number now (the rows are read later, so nothing up to it is missed), `since` the number
-- after which it starts (0: everything), `at` the time given for it. A device says what it has by a time that it was given, or by
-- a cursor: epoch, number and time.
CREATE FUNCTION sync_begin(owner bigint, canonical_id text, said_epoch text, said_seq bigint, said_at bigint) RETURNS sync_span
LANGUAGE plpgsql VOLATILE AS $$
DECLARE c counters; d devices; m sync_marks; s sync_span; oldest bigint := now_ms() - 90 * 86400000::bigint;
BEGIN
  SELECT * INTO c FROM counters q WHERE q.user_id = owner;
  SELECT * INTO d FROM devices q WHERE q.user_id = owner AND q.canonical = canonical_id;
  IF d.id IS NULL THEN PERFORM refuse('IA404', 'device'); END IF;
  IF said_at > d.synced_at OR d.synced_epoch IS DISTINCT FROM c.epoch THEN
    -- Read again whatever comes of it: the answer before may be proved by its own end at this moment.
    PERFORM sync_prove(owner, d.id, coalesce(said_epoch, c.epoch), said_seq, said_at);
    SELECT * INTO d FROM devices q WHERE q.user_id = owner AND q.id = d.id;
  END IF;
  IF d.synced_epoch IS DISTINCT FROM c.epoch THEN
    d.synced_seq := 0;
    d.synced_at := 0;
  END IF;
  s.since := d.synced_seq;
  IF said_epoch <> c.epoch OR said_seq > c.seq THEN
    s.since := 0;
  ELSIF said_at < d.synced_at THEN
    IF said_epoch IS NULL THEN
      SELECT q.seq, q.at INTO said_seq, said_at FROM sync_marks q
        WHERE q.user_id = owner AND q.epoch = c.epoch AND q.at <= said_at ORDER BY q.at DESC LIMIT 1;
    END IF;
    s.since := CASE WHEN said_at >= oldest THEN least(said_seq, d.synced_seq) ELSE 0 END;
  ELSIF d.synced_at < oldest THEN
    s.since := 0;
  END IF;
  s.device := d.id;
  s.upto := c.seq;
  s.epoch := c.epoch;
  -- A mark of the same number serves a day.
  SELECT * INTO m FROM sync_marks q WHERE q.user_id = owner AND q.device_id = d.id ORDER BY q.at DESC LIMIT 1;
  IF m.epoch = c.epoch AND m.seq = c.seq AND m.at > now_ms() - 86400000 THEN
    s.at := m.at;
    RETURN s;
  END IF;
  s.at := greatest(now_ms(), c.at, m.at + 1);
  INSERT INTO sync_marks AS q (user_id, device_id, at, seq, epoch) VALUES (owner, d.id, s.at, c.seq, c.epoch)
    ON CONFLICT (user_id, device_id, at) DO UPDATE SET seq = least(q.seq, excluded.seq), epoch = excluded.epoch;
  -- The newest 20 stay, before them the first of each day.
  DELETE FROM sync_marks q WHERE q.user_id = owner AND q.device_id = d.id
    AND q.at < (SELECT n.at FROM sync_marks n WHERE n.user_id = owner AND n.device_id = d.id ORDER BY n.at DESC OFFSET 19 LIMIT 1)
    AND (q.at < oldest OR EXISTS (SELECT 1 FROM sync_marks o
      WHERE o.user_id = owner AND o.device_id = d.id AND o.at < q.at AND o.at / 86400000 = q.at / 86400000));
  RETURN s;
END $$;

-- Slices go by number and id, also where one change has numbered thousands.
DROP INDEX contacts_seq, deals_seq, interactions_seq, notes_seq, task_lists_seq, tasks_seq, tasks_assigned;
CREATE INDEX contacts_seq ON contacts (user_id, seq, id);
CREATE INDEX deals_seq ON deals (user_id, seq, id);
CREATE INDEX interactions_seq ON interactions (user_id, seq, id);
CREATE INDEX notes_seq ON notes (user_id, seq, id);
CREATE INDEX task_lists_seq ON task_lists (user_id, seq, id);
CREATE INDEX tasks_seq ON tasks (user_id, seq, id);
CREATE INDEX tasks_assigned ON tasks (assigned_to_id, assigned_seq, id);

---------------------------------------------------------------------------------------------- tasks

-- A task moved by a merge or a share is numbered like one that loses what it is about; whoever numbers it says so.
DROP TRIGGER tasks_lose ON tasks;
CREATE TRIGGER tasks_refer BEFORE UPDATE OF contact_id, deal_id, task_list_id ON tasks FOR EACH ROW
  WHEN (NEW.seq = OLD.seq AND NEW.assigned_seq = OLD.assigned_seq
    AND (NEW.contact_id, NEW.deal_id, NEW.task_list_id) IS DISTINCT FROM (OLD.contact_id, OLD.deal_id, OLD.task_list_id))
  EXECUTE FUNCTION task_loses();

-- A list shows its tasks whole: any change of one is a change of the list.
DROP TRIGGER tasks_relisted ON tasks;
CREATE TRIGGER tasks_relisted AFTER UPDATE ON tasks FOR EACH ROW
  WHEN (OLD.task_list_id IS NOT NULL OR NEW.task_list_id IS NOT NULL) EXECUTE FUNCTION lists_of_task();

-- Tasks of an owner that show something else now. The assignees' counters are taken here, unless the call took them before.
CREATE FUNCTION renumber_tasks(owner bigint, ids bigint[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE assignees bigint[] := ARRAY(SELECT DISTINCT t.assigned_to_id FROM tasks t WHERE t.user_id = owner AND t.id = ANY (ids) AND t.assigned_to_id <> owner);
BEGIN
  IF cardinality(assignees) > 0 THEN PERFORM take(assignees); END IF;
  UPDATE tasks t SET seq = number_of(owner), assigned_seq = number_of(t.assigned_to_id)
    WHERE t.user_id = owner AND t.id = ANY (ids) AND t.seq <> number_of(owner);
END $$;

CREATE OR REPLACE FUNCTION task_loses_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM renumber_tasks(OLD.user_id, ARRAY[OLD.task_id]); RETURN NULL; END $$;

---------------------------------------------------------------------------------------------- what shows a name

-- Notes, tasks, deals and interactions show the name of the contact (deal) they belong to.
CREATE FUNCTION renamed_contact() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE number bigint := number_of(NEW.user_id);
BEGIN
  UPDATE notes n SET seq = number WHERE n.user_id = NEW.user_id AND n.contact_id = NEW.id AND n.seq <> number;
  UPDATE deals d SET seq = number WHERE d.user_id = NEW.user_id AND d.contact_id = NEW.id AND d.seq <> number;
  UPDATE interactions i SET seq = number WHERE i.user_id = NEW.user_id AND i.person_id = NEW.id AND i.seq <> number;
  UPDATE interactions i SET seq = number WHERE i.user_id = NEW.user_id AND i.organization_id = NEW.id AND i.seq <> number;
  PERFORM renumber_tasks(NEW.user_id, ARRAY(SELECT t.id FROM tasks t WHERE t.user_id = NEW.user_id AND t.contact_id = NEW.id));
  RETURN NULL;
END $$;
CREATE TRIGGER contacts_renamed AFTER UPDATE OF organization_name, first_name, middle_name, last_name ON contacts FOR EACH ROW
  WHEN (OLD.display_name IS DISTINCT FROM NEW.display_name) EXECUTE FUNCTION renamed_contact();

CREATE FUNCTION renamed_deal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE number bigint := number_of(NEW.user_id);
BEGIN
  UPDATE notes n SET seq = number WHERE n.user_id = NEW.user_id AND n.deal_id = NEW.id AND n.seq <> number;
  PERFORM renumber_tasks(NEW.user_id, ARRAY(SELECT t.id FROM tasks t WHERE t.user_id = NEW.user_id AND t.deal_id = NEW.id));
  RETURN NULL;
END $$;
CREATE TRIGGER deals_renamed AFTER UPDATE OF name ON deals FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION renamed_deal();

-- A scheduled call shows its numbers whole.
CREATE FUNCTION tasks_of_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM renumber_tasks(NEW.user_id, ARRAY(SELECT n.task_id FROM task_numbers n WHERE n.user_id = NEW.user_id AND n.basic_info_id = NEW.id));
  RETURN NULL;
END $$;
CREATE INDEX task_numbers_info ON task_numbers (user_id, basic_info_id);
CREATE TRIGGER basic_infos_tasks AFTER UPDATE OF type, subtype, value, identifier, excluded ON basic_infos FOR EACH ROW
  WHEN ((OLD.type, OLD.subtype, OLD.value, OLD.identifier, OLD.excluded) IS DISTINCT FROM (NEW.type, NEW.subtype, NEW.value, NEW.identifier, NEW.excluded))
  EXECUTE FUNCTION tasks_of_number();

-- Tasks show the e-mail of who is to do them, to whoever owns them too.
CREATE FUNCTION renamed_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM take(ARRAY(SELECT NEW.id UNION SELECT t.user_id FROM tasks t WHERE t.assigned_to_id = NEW.id));
  UPDATE tasks t SET seq = number_of(t.user_id), assigned_seq = number_of(NEW.id) WHERE t.assigned_to_id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER users_renamed AFTER UPDATE OF email ON users FOR EACH ROW WHEN (OLD.email <> NEW.email) EXECUTE FUNCTION renamed_user();

CREATE INDEX contact_custom_values_field ON contact_custom_values (custom_field_id);      -- whose contacts show its name
