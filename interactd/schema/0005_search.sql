-- Finding contacts by any part of what they hold: one folded text for each contact, renewed at the end of each transaction that
-- changes what a contact holds. An event changes no such thing and renews nothing.

-- Letters without case and accents.
CREATE FUNCTION fold(said text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT replace(replace(replace(replace(translate(lower(regexp_replace(normalize(said, NFKD), '[\u0300-\u036f]', '', 'g')), 'øłđıħ', 'oldih'),
    'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th')
$$;

CREATE TABLE contact_search (
  user_id bigint NOT NULL,
  contact_id bigint NOT NULL,
  name text NOT NULL,                -- folded display name
  words text NOT NULL,               -- the name and all else, folded, a line each; numbers as digits, as written and in both forms, too
  PRIMARY KEY (user_id, contact_id),
  FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id) ON DELETE CASCADE
);

-- The digits of a number as somebody wrote it; NULL for a text that is none. An extension may be named.
CREATE FUNCTION search_digits(said text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN d.plain ~* '^[-+()/. [:digit:]]+((ext\.?|x|#|;ext=) *[[:digit:]]+)?$' AND d.plain ~ '(\d\D*){3}'
    THEN regexp_replace(regexp_replace(replace(d.plain, '(0)', ''), '\D', '', 'g'), '^00', '') END
  FROM (SELECT btrim(regexp_replace(normalize(said, NFKC), '[\u2010-\u2015\u2212]', '-', 'g')) AS plain) d
$$;

CREATE FUNCTION contact_words(c contacts) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT fold(concat_ws(E'\n', c.display_name, c.title, c.profession, c.business,
    (SELECT string_agg(o.display_name, E'\n') FROM contact_links l JOIN contacts o ON o.user_id = l.user_id AND o.id = l.organization_id
      WHERE l.user_id = c.user_id AND l.person_id = c.id),
    (SELECT string_agg(concat_ws(E'\n', b.value, b.identifier, CASE WHEN b.type IN ('phone', 'mobile', 'fax')
        THEN concat_ws(E'\n', search_digits(b.value), ltrim(b.canon, '+') || b.ext, '0' || b.nsn || b.ext) END), E'\n')
      FROM basic_infos b WHERE b.user_id = c.user_id AND b.contact_id = c.id),
    (SELECT string_agg(concat_ws(E'\n', a.address_line1, a.address_line2, a.address_line3, a.zip_code, a.city, a.state, a.country), E'\n')
      FROM addresses a WHERE a.user_id = c.user_id AND a.contact_id = c.id),
    (SELECT string_agg(p.username, E'\n') FROM contact_profiles p WHERE p.user_id = c.user_id AND p.contact_id = c.id),
    (SELECT string_agg(g.tag, E'\n') FROM contact_tags g WHERE g.user_id = c.user_id AND g.contact_id = c.id),
    (SELECT string_agg(s.term, E'\n') FROM contact_search_terms s WHERE s.user_id = c.user_id AND s.contact_id = c.id),
    (SELECT string_agg(v.value, E'\n') FROM contact_custom_values v WHERE v.user_id = c.user_id AND v.contact_id = c.id)))
$$;

CREATE FUNCTION renew_search(owner bigint, contact bigint) RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO contact_search (user_id, contact_id, name, words)
  SELECT c.user_id, c.id, fold(c.display_name), contact_words(c) FROM contacts c WHERE c.user_id = owner AND c.id = contact
  ON CONFLICT (user_id, contact_id) DO UPDATE SET name = excluded.name, words = excluded.words
$$;
CREATE FUNCTION search_of_contact() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM renew_search(NEW.user_id, NEW.id); RETURN NULL; END $$;
CREATE FUNCTION search_of_child() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM CASE TG_OP WHEN 'DELETE' THEN renew_search(OLD.user_id, OLD.contact_id) ELSE renew_search(NEW.user_id, NEW.contact_id) END;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER contacts_search_new AFTER INSERT ON contacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION search_of_contact();
CREATE CONSTRAINT TRIGGER contacts_search_changed AFTER UPDATE OF version ON contacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION search_of_contact();

-- A person is found by its organizations.
CREATE FUNCTION search_of_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM CASE TG_OP WHEN 'DELETE' THEN renew_search(OLD.user_id, OLD.person_id) ELSE renew_search(NEW.user_id, NEW.person_id) END;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER contact_links_search AFTER INSERT OR UPDATE OR DELETE ON contact_links DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION search_of_link();
CREATE FUNCTION search_of_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM renew_search(l.user_id, l.person_id) FROM contact_links l WHERE l.user_id = NEW.user_id AND l.organization_id = NEW.id;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER contacts_search_members AFTER UPDATE OF organization_name ON contacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.organization_name <> NEW.organization_name) EXECUTE FUNCTION search_of_members();

CREATE CONSTRAINT TRIGGER basic_infos_search AFTER UPDATE OF contact_id, canon ON basic_infos DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (NEW.contact_id IS NOT NULL AND (OLD.contact_id, OLD.canon, OLD.nsn) IS DISTINCT FROM (NEW.contact_id, NEW.canon, NEW.nsn))
  EXECUTE FUNCTION search_of_child();
CREATE CONSTRAINT TRIGGER contact_custom_values_search AFTER DELETE ON contact_custom_values DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION search_of_child();

INSERT INTO contact_search (user_id, contact_id, name, words) SELECT c.user_id, c.id, fold(c.display_name), contact_words(c) FROM contacts c;

-- What must stand in the words: each word of the query; or, if it is a number in whatever spelling, its digits.
CREATE FUNCTION search_patterns(said text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN search_digits(said) IS NOT NULL THEN ARRAY['%' || search_digits(said) || '%']
    ELSE (SELECT array_agg('%' || regexp_replace(w, '([\\%_])', '\\\1', 'g') || '%') FROM regexp_split_to_table(fold(said), '\s+') w WHERE w <> '') END
$$;

-- Where words begin, there is a blank.
CREATE FUNCTION search_apart(said text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ' ' || translate(said, E'\n-/.,;:@&()''"', repeat(' ', 13)) $$;

-- 0: the name begins so; 1: a word of the name; 2: a word of anything; 3: it stands within one.
CREATE FUNCTION search_rank(name text, words text, patterns text[]) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN name LIKE substr(patterns[1], 2) THEN 0 WHEN search_apart(name) LIKE p.word THEN 1 WHEN search_apart(words) LIKE p.word THEN 2
    ELSE 3 END::bigint
  FROM (SELECT '%' || search_apart(substr(patterns[1], 2)) AS word) p
$$;
