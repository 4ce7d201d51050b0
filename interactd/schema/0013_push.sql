-- Pushes by Apple (contract section 8): when one is due, who sends it, what became of it.
ALTER TABLE deliveries
  ADD COLUMN push_id uuid,                                    -- Apple's name for it, the same for every attempt
  ADD COLUMN push_attempts int NOT NULL DEFAULT 0,
  ADD COLUMN accepted_at timestamptz,                         -- Apple has taken it
  ADD COLUMN push_failed_at timestamptz, ADD COLUMN push_failed text;
COMMENT ON COLUMN deliveries.due_at IS 'when the push is due; NULL when none is, or none any more';
COMMENT ON COLUMN deliveries.pushed_at IS 'handed to the APNs client of lease_node, which may send it while lease_generation is its own';
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE devices
  ADD COLUMN voip boolean NOT NULL DEFAULT false,             -- its token is PushKit's: calls only, by the app's VoIP topic
  ADD COLUMN push_ok_at timestamptz,                          -- Apple took one
  ADD COLUMN push_error text, ADD COLUMN push_error_at timestamptz;

-- When a push to this device is due, where pushes are on (`interactd.push_after`, in seconds). Late events ring nowhere.
CREATE FUNCTION push_due(device bigint, type text, late boolean) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN NOT late AND nullif(current_setting('interactd.push_after', true), '') IS NOT NULL THEN (
    SELECT now() + make_interval(secs => current_setting('interactd.push_after')::float8) FROM devices v
    WHERE v.id = device AND v.apns_token IS NOT NULL AND (NOT v.voip OR type = 'call-incoming')) END
$$;
