-- The configuration as versions: who changed what, when and why. The newest one is in force. Rows are only ever added.

CREATE TABLE configuration_version (
    -- 1, 2, 3 ... without gaps; before the first one nothing is set.
    number bigint PRIMARY KEY CHECK (number > 0),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_kind text NOT NULL,
    actor text NOT NULL,
    address text NOT NULL DEFAULT '',
    comment text NOT NULL DEFAULT '',
    -- [{"section", "name", "old", "new"}, ...]; null is "not there".
    changes jsonb NOT NULL,
    -- All managed settings of this version by name; and of other sections the entries that this version changed.
    document jsonb NOT NULL
);

CREATE FUNCTION configuration_version_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'versions of the configuration are not changed or removed';
END $$;
CREATE TRIGGER configuration_version_stays BEFORE UPDATE OR DELETE ON configuration_version
    FOR EACH ROW EXECUTE FUNCTION configuration_version_stays();
CREATE TRIGGER configuration_version_stays_whole BEFORE TRUNCATE ON configuration_version
    FOR EACH STATEMENT EXECUTE FUNCTION configuration_version_stays();
