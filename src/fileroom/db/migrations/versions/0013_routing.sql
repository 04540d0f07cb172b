-- What routing works by: rules, destinations, treatments, schedules ... (`section`), each an entry by its name. The fields are
-- JSON that the code has checked; every change is a version. A removed entry keeps its row: what was delivered to a destination
-- can still be told. `secrets` are sealed (admin.sealing).

CREATE TABLE named_entry (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    section text NOT NULL,
    name text NOT NULL,
    fields jsonb NOT NULL,
    secrets bytea,
    enabled boolean NOT NULL DEFAULT true,
    version integer NOT NULL DEFAULT 1,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz
);
CREATE UNIQUE INDEX named_entry_name ON named_entry (section, name) WHERE removed_at IS NULL;

CREATE TABLE named_entry_version (
    entry_id integer NOT NULL REFERENCES named_entry ON DELETE CASCADE,
    version integer NOT NULL,
    fields jsonb NOT NULL,
    enabled boolean NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entry_id, version)
);

-- Counts every change of what routing works by; processes that hold it in memory look here once a second.
CREATE TABLE entry_generation (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    generation bigint NOT NULL DEFAULT 1
);

CREATE FUNCTION count_routing_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO entry_generation AS g DEFAULT VALUES ON CONFLICT (one_row) DO UPDATE SET generation = g.generation + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER named_entry_changed AFTER INSERT OR UPDATE OR DELETE ON named_entry
    FOR EACH STATEMENT EXECUTE FUNCTION count_routing_change();

-- The delivery ledger. One row for an object and a destination, made in the transaction that stores the object.
-- A parcel is what one destination gets of one study: it is what a lane takes hold of, so that order is kept within it.

-- State `ready`: a lane may take it. `claimed`: one has, until `claimed_until`. `later`: something of it is due at `due_at`.

CREATE TABLE parcel (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination_id integer NOT NULL REFERENCES named_entry,
    study_instance_uid text NOT NULL,
    state text NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'ready', 'claimed', 'later', 'held')),
    rank_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz NOT NULL DEFAULT now(),
    claimed_by uuid,
    sent_by_id integer REFERENCES named_entry,
    UNIQUE (destination_id, study_instance_uid)
);
CREATE INDEX parcel_ready ON parcel (destination_id, rank_at, id) WHERE state = 'ready';
CREATE INDEX parcel_later ON parcel (due_at) WHERE state = 'later';
CREATE INDEX parcel_claimed ON parcel (claimed_until) WHERE state = 'claimed';

CREATE TABLE delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination_id integer NOT NULL REFERENCES named_entry,
    parcel_id bigint NOT NULL REFERENCES parcel,
    rule_id integer REFERENCES named_entry,
    instance_id bigint NOT NULL,
    study_instance_uid text NOT NULL,
    series_instance_uid text NOT NULL,
    sop_instance_uid text NOT NULL,
    sop_class_uid text NOT NULL,
    state text NOT NULL CHECK (state IN
        ('gathering', 'waiting', 'sent', 'delivered', 'failed', 'held', 'cancelled', 'quarantined')),
    until text NOT NULL DEFAULT '' CHECK (until IN ('', 'series', 'study')),
    cause text NOT NULL DEFAULT '',
    status integer,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    bytes bigint NOT NULL DEFAULT 0,
    actor text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    taken_at timestamptz,
    settled_at timestamptz,
    delivered_as text,
    UNIQUE (destination_id, instance_id)
);
CREATE INDEX delivery_open ON delivery (parcel_id, id) WHERE state = 'waiting';
CREATE INDEX delivery_gathering ON delivery (study_instance_uid) WHERE state = 'gathering';
CREATE INDEX delivery_sent ON delivery (parcel_id, id) WHERE state = 'sent';
CREATE INDEX delivery_state ON delivery (destination_id, state, id);
CREATE INDEX delivery_object ON delivery (sop_instance_uid);
CREATE INDEX delivery_study ON delivery (study_instance_uid, id);
CREATE INDEX delivery_settled ON delivery (settled_at) WHERE settled_at IS NOT NULL;

-- How many deliveries of a destination are in a state: the sum over the slots. Slots keep writers out of each other's way.
CREATE TABLE delivery_tally (
    destination_id integer NOT NULL,
    state text NOT NULL,
    slot smallint NOT NULL,
    number bigint NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (destination_id, state, slot)
);

CREATE FUNCTION tally_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO delivery_tally AS t (destination_id, state, slot, number, bytes)
            SELECT destination_id, state, mod(pg_backend_pid(), 32), count(*), sum(bytes) FROM fresh GROUP BY 1, 2 ORDER BY 1, 2
            ON CONFLICT (destination_id, state, slot)
            DO UPDATE SET number = t.number + excluded.number, bytes = t.bytes + excluded.bytes;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO delivery_tally AS t (destination_id, state, slot, number, bytes)
            SELECT destination_id, state, mod(pg_backend_pid(), 32), -count(*), -sum(bytes) FROM stale GROUP BY 1, 2 ORDER BY 1, 2
            ON CONFLICT (destination_id, state, slot)
            DO UPDATE SET number = t.number + excluded.number, bytes = t.bytes + excluded.bytes;
    ELSE
        INSERT INTO delivery_tally AS t (destination_id, state, slot, number, bytes)
            SELECT destination_id, state, mod(pg_backend_pid(), 32), sum(n), sum(b) FROM (
                SELECT destination_id, state, 1 AS n, bytes AS b FROM fresh
                UNION ALL SELECT destination_id, state, -1, -bytes FROM stale) AS both_of_them
            GROUP BY 1, 2 HAVING sum(n) <> 0 OR sum(b) <> 0 ORDER BY 1, 2
            ON CONFLICT (destination_id, state, slot)
            DO UPDATE SET number = t.number + excluded.number, bytes = t.bytes + excluded.bytes;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER delivery_made AFTER INSERT ON delivery REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();
CREATE TRIGGER delivery_changed AFTER UPDATE ON delivery REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();
CREATE TRIGGER delivery_gone AFTER DELETE ON delivery REFERENCING OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();

-- Studies of which something waits until they, or a series of them, are complete, and what says that they are (`hints`).
CREATE TABLE gathering (
    study_instance_uid text PRIMARY KEY,
    last_at timestamptz NOT NULL DEFAULT now(),
    hints jsonb NOT NULL DEFAULT '{}'
);

-- Storage commitment that we have asked a destination for (PS3.4 J). The answer may come hours later, on an association of its own.
CREATE TABLE commitment_asked (
    delivery_id bigint NOT NULL REFERENCES delivery ON DELETE CASCADE,
    sop_instance_uid text NOT NULL,
    transaction_uid text NOT NULL,
    node_aet text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    answered_at timestamptz,
    failure integer,
    PRIMARY KEY (delivery_id, sop_instance_uid)
);
CREATE INDEX commitment_asked_transaction ON commitment_asked (transaction_uid);
