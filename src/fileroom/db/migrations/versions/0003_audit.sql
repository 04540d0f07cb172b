-- The audit trail: what happened (audit_event), its order and its hash chain (audit_seal), hashes to compare with
-- (audit_checkpoint), what waits to be sealed (audit_queue), and how far a syslog server has been told (audit_forward).

CREATE SEQUENCE audit_event_id;

CREATE TABLE audit_event (
    id bigint NOT NULL DEFAULT nextval('audit_event_id'),
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Codes of PS3.16 CID 400 and CID 401 ('' where there is no type).
    event text COLLATE "C" NOT NULL,
    event_type text COLLATE "C" NOT NULL DEFAULT '',
    action text COLLATE "C" NOT NULL CHECK (action IN ('C', 'R', 'U', 'D', 'E')),
    outcome smallint NOT NULL CHECK (outcome IN (0, 4, 8, 12)),
    actor_kind text NOT NULL,
    actor text COLLATE "C" NOT NULL,
    address text NOT NULL DEFAULT '',
    patient_ids text[] COLLATE "C" NOT NULL DEFAULT '{}',
    study_uids text[] COLLATE "C" NOT NULL DEFAULT '{}',
    -- The rest of the message of PS3.15 A.5, as admin/audit_message.py writes it.
    message jsonb NOT NULL,
    PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX audit_event_time ON audit_event (occurred_at DESC, id DESC);
CREATE INDEX audit_event_actor ON audit_event (actor, occurred_at DESC, id DESC);
CREATE INDEX audit_event_patients ON audit_event USING gin (patient_ids);
CREATE INDEX audit_event_studies ON audit_event USING gin (study_uids);

-- Written with the event, taken away by its seal.
CREATE TABLE audit_queue (
    event_id bigint PRIMARY KEY,
    occurred_at timestamptz NOT NULL
);

CREATE TABLE audit_seal (
    position bigint NOT NULL,
    sealed_at timestamptz NOT NULL,
    event_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    -- SHA-256 of the event's canonical content; and of the former seal's chain, position and this content.
    content bytea NOT NULL,
    chain bytea NOT NULL,
    PRIMARY KEY (position, sealed_at)
) PARTITION BY RANGE (sealed_at);
CREATE INDEX audit_seal_event ON audit_seal (event_id);

CREATE TABLE audit_checkpoint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL CHECK (kind IN ('periodic', 'retention')),
    position bigint NOT NULL,
    chain bytea NOT NULL,
    -- Retention: events and seals from before this moment are gone.
    dropped_before timestamptz
);

CREATE TABLE audit_forward (
    target text PRIMARY KEY,
    position bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit trail is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_seal_append_only BEFORE UPDATE OR DELETE ON audit_seal
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_checkpoint_append_only BEFORE UPDATE OR DELETE ON audit_checkpoint
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_seal_no_truncate BEFORE TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_checkpoint_no_truncate BEFORE TRUNCATE ON audit_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

-- Months are UTC. The default partitions are a net for a clock that runs wild; nothing should ever stand there.
CREATE TABLE audit_event_other PARTITION OF audit_event DEFAULT;
CREATE TABLE audit_seal_other PARTITION OF audit_seal DEFAULT;

CREATE FUNCTION audit_make_months(ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    first timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    month timestamp;
    parent text;
    made integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['audit_event', 'audit_seal'] LOOP
        FOR step IN 0..ahead LOOP
            month := first + make_interval(months => step);
            CONTINUE WHEN to_regclass(format('%s_%s', parent, to_char(month, 'YYYYMM'))) IS NOT NULL;
            BEGIN
                EXECUTE format('CREATE TABLE %1$I PARTITION OF %2$I FOR VALUES FROM (%3$L) TO (%4$L)',
                    format('%s_%s', parent, to_char(month, 'YYYYMM')), parent,
                    to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                    to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
                EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT '
                    'EXECUTE FUNCTION audit_refuse_change()', format('%s_%s', parent, to_char(month, 'YYYYMM')));
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                NULL;  -- The net holds rows of this month already; they stay there.
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

-- The retention routine, and the only way out: whole months from before a moment, with the chain's end there noted first.
CREATE FUNCTION audit_drop_months(before timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    month text := to_char(date_trunc('month', before AT TIME ZONE 'UTC'), 'YYYYMM');
    limit_at timestamptz := date_trunc('month', before AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    doomed text;
    dropped integer := 0;
BEGIN
    INSERT INTO audit_checkpoint (kind, position, chain, dropped_before)
        SELECT 'retention', s.position, s.chain, limit_at FROM audit_seal s WHERE s.sealed_at < limit_at
        ORDER BY s.position DESC LIMIT 1;
    FOR doomed IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('audit_event'::regclass, 'audit_seal'::regclass)
        AND c.relname ~ '^audit_(event|seal)_[0-9]{6}$' AND right(c.relname, 6) < month
    LOOP
        EXECUTE format('DROP TABLE %I', doomed);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

SELECT audit_make_months(3);
