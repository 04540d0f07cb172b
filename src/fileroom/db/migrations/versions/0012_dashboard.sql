-- What the dashboard's charts are drawn from.

-- Figures of one machine in one span of time (60 or 3600 s, which begins at `at`): what went on in it, and how it stood last.
-- Minutes are kept for two days, hours for two years: some 20,000 rows.
CREATE TABLE figure (
    span_s integer NOT NULL,
    at timestamptz NOT NULL,
    machine text NOT NULL,
    objects_in bigint NOT NULL DEFAULT 0,
    bytes_in bigint NOT NULL DEFAULT 0,
    objects_out bigint NOT NULL DEFAULT 0,
    bytes_out bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    associations bigint NOT NULL DEFAULT 0,
    requests bigint NOT NULL DEFAULT 0,
    request_errors bigint NOT NULL DEFAULT 0,
    cpu_s double precision NOT NULL DEFAULT 0,
    -- How it stood.
    queued bigint NOT NULL DEFAULT 0,
    memory_bytes bigint NOT NULL DEFAULT 0,
    storage_bytes bigint NOT NULL DEFAULT 0,
    storage_free_bytes bigint,                 -- null: without an end
    database_bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (span_s, at, machine)
);

-- How many bytes the objects of the index have together: those up to `last_id` are counted, a background task goes on.
-- What is deleted is noted, and subtracted by the same task.
CREATE TABLE storage_tally (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_id bigint NOT NULL,
    bytes bigint NOT NULL
);
CREATE TABLE storage_freed (
    instance_id bigint NOT NULL,
    bytes bigint NOT NULL
);

CREATE FUNCTION storage_note_freed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO storage_freed (instance_id, bytes) SELECT id, file_bytes FROM gone;
    RETURN NULL;
END $$;
CREATE TRIGGER storage_freed AFTER DELETE ON instance REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION storage_note_freed();

CREATE FUNCTION storage_begin_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM storage_freed;
    UPDATE storage_tally SET bytes = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER storage_emptied AFTER TRUNCATE ON instance FOR EACH STATEMENT EXECUTE FUNCTION storage_begin_anew();
