-- A task that comes to a list or leaves it is a change of the list (contract section 9).
CREATE FUNCTION lists_of_task() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE lists bigint[] := CASE TG_OP WHEN 'INSERT' THEN ARRAY[NEW.task_list_id] WHEN 'DELETE' THEN ARRAY[OLD.task_list_id]
    ELSE ARRAY[OLD.task_list_id, NEW.task_list_id] END;
  owner bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
BEGIN
  UPDATE task_lists l SET seq = number_of(owner) WHERE l.user_id = owner AND l.id = ANY (lists) AND l.seq <> number_of(owner);
  RETURN NULL;
END $$;
CREATE TRIGGER tasks_listed AFTER INSERT ON tasks FOR EACH ROW WHEN (NEW.task_list_id IS NOT NULL) EXECUTE FUNCTION lists_of_task();
CREATE TRIGGER tasks_unlisted AFTER DELETE ON tasks FOR EACH ROW WHEN (OLD.task_list_id IS NOT NULL) EXECUTE FUNCTION lists_of_task();
CREATE TRIGGER tasks_relisted AFTER UPDATE OF task_list_id ON tasks FOR EACH ROW
  WHEN (OLD.task_list_id IS DISTINCT FROM NEW.task_list_id) EXECUTE FUNCTION lists_of_task();
