-- What hangs on a contact is a change of that contact: rows and references carry the user's current number (contract section 9).
--
-- The triggers rely on the rule that whoever changes a user's data has taken the counter first: number_of(user) is then the
-- number of this change. A contact that carries it already is left alone, so a write of many children costs one UPDATE.

---------------------------------------------------------------------------------------------- children of a contact

CREATE FUNCTION touch_contact(owner bigint, contacts bigint[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  number bigint := number_of(owner);
  contact bigint;
BEGIN
  -- One by one: by its key the plan stays right when a user has a thousand times as many contacts as the statistics know.
  FOREACH contact IN ARRAY contacts LOOP
    UPDATE contacts c SET seq = number WHERE c.user_id = owner AND c.id = contact AND c.seq <> number;
  END LOOP;
END $$;

-- For tables with user_id and contact_id.
CREATE FUNCTION contact_of_child() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM touch_contact(NEW.user_id, ARRAY[NEW.contact_id]);
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM touch_contact(OLD.user_id, ARRAY[OLD.contact_id]);
  ELSE
    PERFORM touch_contact(NEW.user_id, ARRAY[OLD.contact_id, NEW.contact_id]);
  END IF;
  RETURN NULL;
END $$;

-- An event keeps unassigned basicInfos and counts excluded ones: neither is a change of a contact.
CREATE TRIGGER basic_infos_added AFTER INSERT ON basic_infos FOR EACH ROW WHEN (NEW.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER basic_infos_gone AFTER DELETE ON basic_infos FOR EACH ROW WHEN (OLD.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER basic_infos_changed AFTER UPDATE OF contact_id, type, subtype, value, identifier, excluded ON basic_infos FOR EACH ROW
  WHEN ((OLD.contact_id, OLD.type, OLD.subtype, OLD.value, OLD.identifier, OLD.excluded)
    IS DISTINCT FROM (NEW.contact_id, NEW.type, NEW.subtype, NEW.value, NEW.identifier, NEW.excluded)) EXECUTE FUNCTION contact_of_child();

CREATE TRIGGER addresses_contact AFTER INSERT OR UPDATE OR DELETE ON addresses FOR EACH ROW EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER contact_profiles_contact AFTER INSERT OR UPDATE OR DELETE ON contact_profiles FOR EACH ROW EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER contact_tags_contact AFTER INSERT OR UPDATE OR DELETE ON contact_tags FOR EACH ROW EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER contact_search_terms_contact AFTER INSERT OR UPDATE OR DELETE ON contact_search_terms FOR EACH ROW EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER contact_custom_values_contact AFTER INSERT OR UPDATE OR DELETE ON contact_custom_values FOR EACH ROW EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER pictures_added AFTER INSERT OR DELETE ON pictures FOR EACH ROW EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER pictures_changed AFTER UPDATE OF contact_id, is_default, type, key, image ON pictures FOR EACH ROW EXECUTE FUNCTION contact_of_child();

-- A link is own data of both its contacts: their versions rise, once a change.
CREATE FUNCTION contacts_of_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE l contact_links := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; number bigint := number_of(l.user_id);
BEGIN
  UPDATE contacts c SET version = c.version + 1, changed = time_of(l.user_id), seq = number
    WHERE c.user_id = l.user_id AND c.id IN (l.person_id, l.organization_id) AND c.seq <> number;
  RETURN NULL;
END $$;
CREATE TRIGGER contact_links_contacts AFTER INSERT OR DELETE ON contact_links FOR EACH ROW EXECUTE FUNCTION contacts_of_link();

---------------------------------------------------------------------------------------------- what is attached to a contact

CREATE TRIGGER notes_attached AFTER INSERT ON notes FOR EACH ROW WHEN (NEW.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER notes_detached AFTER DELETE ON notes FOR EACH ROW WHEN (OLD.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER notes_moved AFTER UPDATE OF contact_id ON notes FOR EACH ROW
  WHEN (OLD.contact_id IS DISTINCT FROM NEW.contact_id) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER deals_attached AFTER INSERT ON deals FOR EACH ROW WHEN (NEW.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER deals_detached AFTER DELETE ON deals FOR EACH ROW WHEN (OLD.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER deals_moved AFTER UPDATE OF contact_id ON deals FOR EACH ROW
  WHEN (OLD.contact_id IS DISTINCT FROM NEW.contact_id) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER tasks_attached AFTER INSERT ON tasks FOR EACH ROW WHEN (NEW.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER tasks_detached AFTER DELETE ON tasks FOR EACH ROW WHEN (OLD.contact_id IS NOT NULL) EXECUTE FUNCTION contact_of_child();
CREATE TRIGGER tasks_moved AFTER UPDATE OF contact_id ON tasks FOR EACH ROW
  WHEN (OLD.contact_id IS DISTINCT FROM NEW.contact_id) EXECUTE FUNCTION contact_of_child();

CREATE FUNCTION contacts_of_interaction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM touch_contact(OLD.user_id, ARRAY[OLD.person_id, OLD.organization_id]);
  ELSE
    PERFORM touch_contact(NEW.user_id, ARRAY(
      (SELECT unnest(ARRAY[OLD.person_id, OLD.organization_id]) EXCEPT SELECT unnest(ARRAY[NEW.person_id, NEW.organization_id])) UNION ALL
      (SELECT unnest(ARRAY[NEW.person_id, NEW.organization_id]) EXCEPT SELECT unnest(ARRAY[OLD.person_id, OLD.organization_id]))));
  END IF;
  RETURN NULL;
END $$;
-- An event that was matched: its own number is the current one, so this is one statement.
CREATE FUNCTION contacts_of_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE contacts c SET seq = NEW.seq WHERE c.user_id = NEW.user_id AND c.id IN (NEW.person_id, NEW.organization_id) AND c.seq <> NEW.seq;
  RETURN NULL;
END $$;
CREATE TRIGGER interactions_attached AFTER INSERT ON interactions FOR EACH ROW
  WHEN (NEW.person_id IS NOT NULL OR NEW.organization_id IS NOT NULL) EXECUTE FUNCTION contacts_of_event();
CREATE TRIGGER interactions_detached AFTER DELETE ON interactions FOR EACH ROW
  WHEN (OLD.person_id IS NOT NULL OR OLD.organization_id IS NOT NULL) EXECUTE FUNCTION contacts_of_interaction();
CREATE TRIGGER interactions_moved AFTER UPDATE OF person_id, organization_id ON interactions FOR EACH ROW
  WHEN ((OLD.person_id, OLD.organization_id) IS DISTINCT FROM (NEW.person_id, NEW.organization_id)) EXECUTE FUNCTION contacts_of_interaction();

---------------------------------------------------------------------------------------------- what loses its reference

-- A foreign key that clears a reference (a contact, deal, list or basicInfo goes) changes what devices see of the row.
CREATE FUNCTION numbered_by_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.seq := number_of(NEW.user_id); RETURN NEW; END $$;
CREATE TRIGGER deals_lose BEFORE UPDATE OF contact_id ON deals FOR EACH ROW
  WHEN (NEW.contact_id IS NULL AND OLD.contact_id IS NOT NULL AND NEW.seq = OLD.seq) EXECUTE FUNCTION numbered_by_loss();
CREATE TRIGGER interactions_lose BEFORE UPDATE OF basic_info_id, person_id, organization_id ON interactions FOR EACH ROW
  WHEN (NEW.seq = OLD.seq AND (NEW.basic_info_id IS NULL AND OLD.basic_info_id IS NOT NULL OR NEW.person_id IS NULL AND OLD.person_id IS NOT NULL
    OR NEW.organization_id IS NULL AND OLD.organization_id IS NOT NULL)) EXECUTE FUNCTION numbered_by_loss();

-- A task has two numbers. The assignee's counter is taken here when whoever writes did not foresee it; the rare deadlock that
-- comes of taking it so late is retried.
CREATE FUNCTION task_numbers_of_loss(t tasks) RETURNS tasks LANGUAGE plpgsql AS $$
BEGIN
  IF t.assigned_to_id <> t.user_id THEN PERFORM take(ARRAY[t.assigned_to_id]); END IF;
  t.seq := number_of(t.user_id);
  t.assigned_seq := number_of(t.assigned_to_id);
  RETURN t;
END $$;
CREATE FUNCTION task_loses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN task_numbers_of_loss(NEW); END $$;
CREATE TRIGGER tasks_lose BEFORE UPDATE OF contact_id, deal_id, task_list_id ON tasks FOR EACH ROW
  WHEN (NEW.seq = OLD.seq AND NEW.assigned_seq = OLD.assigned_seq AND (NEW.contact_id IS NULL AND OLD.contact_id IS NOT NULL
    OR NEW.deal_id IS NULL AND OLD.deal_id IS NOT NULL OR NEW.task_list_id IS NULL AND OLD.task_list_id IS NOT NULL)) EXECUTE FUNCTION task_loses();

CREATE FUNCTION task_loses_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE tasks t SET (seq, assigned_seq) = (SELECT n.seq, n.assigned_seq FROM task_numbers_of_loss(t) n)
    WHERE t.user_id = OLD.user_id AND t.id = OLD.task_id AND t.seq <> number_of(t.user_id);
  RETURN NULL;
END $$;
CREATE TRIGGER task_numbers_gone AFTER DELETE ON task_numbers FOR EACH ROW EXECUTE FUNCTION task_loses_number();

---------------------------------------------------------------------------------------------- basicInfos

-- The values in :body's terms over a row; `forms` holds the canonical columns for each family of types that the row may be of.
CREATE FUNCTION patched(b basic_infos, v jsonb) RETURNS basic_infos LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_populate_record(b, v || coalesce(v -> 'forms' -> CASE WHEN coalesce(v ->> 'type', b.type) IN ('phone', 'mobile', 'fax') THEN 'phone'
    ELSE coalesce(v ->> 'type', b.type) END, '{}'))
$$;

---------------------------------------------------------------------------------------------- pictures, states

-- Where an <img> finds a picture.
CREATE FUNCTION picture_url(id bigint, key text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce(current_setting('interactd.public_url', true), '') || '/v2/pictures/' || id || '/image?k=' || key
$$;

-- An activity's state of a contact or picture, without the addresses of pictures: whoever has one can load it.
CREATE FUNCTION without_addresses(entity_type text, state json) RETURNS json LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE entity_type WHEN 'picture' THEN (state::jsonb - 'url' - 'base64')::json
    WHEN 'contact' THEN CASE WHEN json_array_length(state -> 'pictures') > 0 THEN
      jsonb_set(state::jsonb, '{pictures}', (SELECT jsonb_agg(p - 'url') FROM jsonb_array_elements(state::jsonb -> 'pictures') p))::json ELSE state END
    ELSE state END
$$;

CREATE OR REPLACE FUNCTION record(owner bigint, actor bigint, action text, entity_type text, entity_id bigint, old_state json, new_state json)
RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO activities (user_id, actor_id, company_id, action, entity_type, entity_id, old_state, new_state)
  SELECT owner, actor, (SELECT u.company_id FROM users u WHERE u.id = owner), action, entity_type, entity_id,
    CASE WHEN octet_length(old_state::text) <= 65536 THEN without_addresses(entity_type, old_state) END,
    CASE WHEN octet_length(new_state::text) <= 65536 THEN without_addresses(entity_type, new_state) END
$$;
