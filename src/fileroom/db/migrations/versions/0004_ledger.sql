-- The association ledger: who called whom, what was agreed, what was done, how it ended.
--
-- Written behind the associations by `admin.ledger`, a batch at a time. Both large tables are cut into weeks of the
-- association's begin; `admin.ledger_upkeep` makes and drops the weeks, so a row's age costs nothing to end.
-- `change` grows with every write, in the order of the commits (writers take turns): the live view asks for what is past it.

CREATE SEQUENCE association_id;
CREATE SEQUENCE association_change;

-- A process that writes. What it left open is closed once it has not been seen for a while.
CREATE TABLE ledger_writer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- Proposals with their answers. A device proposes the same thing every day, 20 KiB of it: kept once.
-- [[id, abstract syntax, [transfer syntaxes], result (PS3.8 9.3.3.2), transfer syntax, role], ...]
CREATE TABLE association_contexts (
    digest bytea PRIMARY KEY,
    contexts jsonb NOT NULL,
    used_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX association_contexts_used_at ON association_contexts (used_at);

CREATE TABLE association (
    id bigint NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    change bigint NOT NULL,
    writer bigint NOT NULL,
    direction text NOT NULL,               -- in: the peer called us; out: we called
    purpose text NOT NULL DEFAULT '',      -- out: what for (move, commitment, echo, send, find, get)
    parent bigint,                         -- out: the association whose request caused it
    calling_aet text NOT NULL,
    called_aet text NOT NULL,
    peer_host text NOT NULL,
    peer_port integer NOT NULL,
    tls boolean NOT NULL,
    implementation_class_uid text NOT NULL,
    implementation_version text NOT NULL,
    pdu_bytes_max bigint NOT NULL,
    contexts_digest bytea,
    contexts_proposed integer NOT NULL,
    contexts_accepted integer NOT NULL,
    outcome text NOT NULL,                 -- admin.ledger_rows.Outcome
    mark smallint NOT NULL,                -- 0 good, 1 with warnings, 2 failed
    cause text NOT NULL,                   -- admin.ledger_rows.Cause, where we know it better than the outcome says
    detail text NOT NULL,
    reject_result smallint,
    reject_source smallint,
    reject_reason smallint,
    abort_source smallint,
    abort_reason smallint,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    requests integer NOT NULL,
    objects integer NOT NULL,              -- stored, here or there
    warnings integer NOT NULL,
    failures integer NOT NULL,
    unrecorded integer NOT NULL,           -- operations that found no room in the queue
    PRIMARY KEY (id, began_at)
) PARTITION BY RANGE (began_at);
CREATE INDEX association_began ON association (began_at, id);
CREATE INDEX association_failed ON association (began_at, id) WHERE mark = 2;
CREATE INDEX association_peer ON association ((CASE direction WHEN 'in' THEN calling_aet ELSE called_aet END), began_at);
CREATE INDEX association_changed ON association (change);
CREATE INDEX association_open ON association (writer) WHERE ended_at IS NULL;

-- One request and its answer; C-STOREs (and C-ECHOs) that succeeded stand together, one row for each series.
CREATE TABLE association_operation (
    association bigint NOT NULL,
    association_began_at timestamptz NOT NULL,
    n integer NOT NULL,
    kind text NOT NULL,                    -- C-STORE, C-FIND, ...
    by_us boolean NOT NULL,                -- we asked, the peer answered
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    busy_s double precision NOT NULL,      -- sum over the operations of the row, from request to answer
    count integer NOT NULL,                -- operations of the row
    status integer,                        -- null: never answered
    cause text NOT NULL,                   -- class of the error (core.errors)
    reason text NOT NULL,
    sop_class_uid text NOT NULL,
    transfer_syntax_uid text NOT NULL,
    study_instance_uid text NOT NULL,
    series_instance_uid text NOT NULL,
    sop_instance_uid text NOT NULL,
    bytes bigint NOT NULL,
    matches integer NOT NULL,              -- C-FIND: pending answers
    completed integer,                     -- C-MOVE, C-GET: sub-operations
    warned integer,
    failed integer,
    destination text NOT NULL,             -- C-MOVE
    PRIMARY KEY (association, n, association_began_at)
) PARTITION BY RANGE (association_began_at);
CREATE INDEX association_operation_study ON association_operation (study_instance_uid, association_began_at)
    WHERE study_instance_uid <> '';
