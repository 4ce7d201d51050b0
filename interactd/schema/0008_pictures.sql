-- Pictures: keys of 128 random bits, one place for addresses, a successor for a default picture that goes.

CREATE FUNCTION picture_key() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT substr(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), 1, 32)
$$;
ALTER TABLE pictures ALTER COLUMN key SET DEFAULT picture_key();

CREATE FUNCTION picture_succeeds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE pictures SET is_default = true WHERE user_id = OLD.user_id
    AND id = (SELECT min(p.id) FROM pictures p WHERE p.user_id = OLD.user_id AND p.contact_id = OLD.contact_id);
  RETURN NULL;
END $$;
CREATE TRIGGER pictures_succeed AFTER DELETE ON pictures FOR EACH ROW WHEN (OLD.is_default) EXECUTE FUNCTION picture_succeeds();

CREATE OR REPLACE FUNCTION match_json(owner bigint, b intake_candidate, organization bigint, reason text) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE picture text; organizations text[];
BEGIN
  SELECT CASE b.contact_type WHEN 'organization' THEN ARRAY[b.name] ELSE ARRAY(
      SELECT o.display_name FROM contact_links l JOIN contacts o ON o.user_id = l.user_id AND o.id = l.organization_id
      WHERE l.user_id = owner AND l.person_id = b.contact AND l.organization_id = coalesce(organization, l.organization_id) LIMIT 2) END,
    (SELECT picture_url(p.id, p.key) FROM pictures p WHERE p.user_id = owner AND p.contact_id = b.contact AND p.is_default)
    INTO organizations, picture;
  RETURN json_build_object('contactId', b.contact, 'contactName', b.name, 'contactType', b.contact_type, 'basicInfoId', b.info,
    'basicInfoType', b.type, 'organizationName', CASE WHEN cardinality(organizations) = 1 THEN organizations[1] END, 'picture', picture,
    'reason', reason);
END $$;
