-- What is known of nodes beyond name and address, what they were before, how they answered, and what is sent to them.

ALTER TABLE node
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN location text NOT NULL DEFAULT '',
    ADD COLUMN comment text NOT NULL DEFAULT '',
    ADD COLUMN enabled boolean NOT NULL DEFAULT true,
    -- Addresses and networks that it may call from; empty: what its host name stands for, and this machine.
    ADD COLUMN calling_from text[] NOT NULL DEFAULT '{}',
    ADD COLUMN roles text[] NOT NULL DEFAULT '{send,query,retrieve,destination,commit}',
    ADD COLUMN tls text NOT NULL DEFAULT 'off' CHECK (tls IN ('off', 'on', 'mutual')),
    ADD COLUMN tls_subject text NOT NULL DEFAULT '',
    ADD COLUMN tls_fingerprint text NOT NULL DEFAULT '',
    ADD COLUMN charset text NOT NULL DEFAULT '',
    ADD COLUMN charset_assumed text NOT NULL DEFAULT '',
    -- Transfer syntaxes by preference; empty: all, in the usual order.
    ADD COLUMN accept_syntaxes text[] NOT NULL DEFAULT '{}',
    ADD COLUMN propose_syntaxes text[] NOT NULL DEFAULT '{}',
    -- 0: no limit of its own.
    ADD COLUMN associations_max integer NOT NULL DEFAULT 0 CHECK (associations_max >= 0),
    ADD COLUMN objects_per_minute_max integer NOT NULL DEFAULT 0 CHECK (objects_per_minute_max >= 0),
    ADD COLUMN own_aet text NOT NULL DEFAULT '',
    ADD COLUMN connect_timeout_s integer NOT NULL DEFAULT 10,
    ADD COLUMN response_timeout_s integer NOT NULL DEFAULT 120,
    ADD COLUMN echo_interval_s integer NOT NULL DEFAULT 300,
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN changed_by text NOT NULL DEFAULT '';

-- Every version of a node, so that two people who edit it at once can be shown what the other one did.
CREATE TABLE node_version (
    node_id bigint NOT NULL REFERENCES node ON DELETE CASCADE,
    version bigint NOT NULL,
    fields jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT '',
    PRIMARY KEY (node_id, version)
);

-- One row that says whether any node has changed: what workers look at every second.
CREATE TABLE node_generation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    generation bigint NOT NULL
);

CREATE FUNCTION node_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO node_generation (generation) VALUES (1)
        ON CONFLICT (one) DO UPDATE SET generation = node_generation.generation + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER node_changed AFTER INSERT OR UPDATE OR DELETE ON node
    FOR EACH STATEMENT EXECUTE FUNCTION node_changed();

-- Callers that an administrator wants to hear no more of; they are turned away all the same.
ALTER TABLE held_caller ADD COLUMN ignored_at timestamptz, ADD COLUMN ignored_by text NOT NULL DEFAULT '';

-- Open associations of nodes that have a limit. Whoever holds one renews it; what a killed worker held expires.
CREATE TABLE node_association (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node_id bigint NOT NULL REFERENCES node ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX node_association_node ON node_association (node_id);

-- When the next object of a node that has a limit may be answered.
CREATE TABLE node_pace (
    node_id bigint PRIMARY KEY REFERENCES node ON DELETE CASCADE,
    next_at timestamptz NOT NULL
);

-- When a node is asked next whether it is there, and how it answered. `problem` is '' for an answer.
CREATE TABLE node_echo_due (
    node_id bigint PRIMARY KEY REFERENCES node ON DELETE CASCADE,
    due_at timestamptz NOT NULL,
    answered_at timestamptz
);
CREATE TABLE node_echo (
    node_id bigint NOT NULL REFERENCES node ON DELETE CASCADE,
    asked_at timestamptz NOT NULL DEFAULT now(),
    latency_ms real,
    problem text NOT NULL DEFAULT '',
    detail text NOT NULL DEFAULT ''
);
CREATE INDEX node_echo_node ON node_echo (node_id, asked_at DESC);

-- Studies that people have sent to a node: the order, and one row for each object. Workers renew `claimed_until`.
CREATE TABLE send_job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node_name text NOT NULL,
    node_aet text NOT NULL,
    actor_kind text NOT NULL,
    actor text NOT NULL,
    address text NOT NULL DEFAULT '',
    account_id bigint,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'cancelled')),
    cause text NOT NULL DEFAULT '',
    objects integer NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    claimed_until timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX send_job_due ON send_job (claimed_until) WHERE state IN ('waiting', 'running');
CREATE INDEX send_job_time ON send_job (requested_at DESC);

CREATE TABLE send_object (
    job_id bigint NOT NULL REFERENCES send_job ON DELETE CASCADE,
    n integer NOT NULL,
    study_instance_uid text COLLATE "C" NOT NULL,
    sop_instance_uid text COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'warned', 'failed')),
    reason text NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, n)
);
