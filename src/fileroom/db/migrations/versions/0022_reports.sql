-- Reports: what was found in a study, in versions that are never changed once they are signed.

CREATE TABLE report (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Empty: no study is known yet for what came from elsewhere.
    study_instance_uid text COLLATE "C" NOT NULL DEFAULT '',
    imaging_order bigint REFERENCES imaging_order,
    patient bigint REFERENCES registered_patient,
    accession_number text COLLATE "C" NOT NULL DEFAULT '',
    -- console: written here; hl7: by a feed; dicom: an object of the archive (SR, encapsulated PDF or CDA).
    source text NOT NULL CHECK (source IN ('console', 'hl7', 'dicom')),
    -- The feed, or the node; and how that one calls the report (filler order number, SOP Instance UID).
    source_name text COLLATE "C" NOT NULL DEFAULT '',
    source_number text COLLATE "C" NOT NULL DEFAULT '',
    -- What the message or the object says of its order, its study and its patient: by this it is linked, also later.
    accession_authority text COLLATE "C" NOT NULL DEFAULT '',
    placer_number text COLLATE "C" NOT NULL DEFAULT '',
    placer_authority text COLLATE "C" NOT NULL DEFAULT '',
    filler_number text COLLATE "C" NOT NULL DEFAULT '',
    filler_authority text COLLATE "C" NOT NULL DEFAULT '',
    said_study_uid text COLLATE "C" NOT NULL DEFAULT '',
    patient_id text COLLATE "C" NOT NULL DEFAULT '',
    patient_authority text COLLATE "C" NOT NULL DEFAULT '',
    patient_name text COLLATE "C" NOT NULL DEFAULT '',
    patient_birth_date text COLLATE "C" NOT NULL DEFAULT '',
    -- The row by which the patient was found: a merge moves it to another patient, and the report with it.
    patient_identifier bigint,
    title text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'preliminary', 'final', 'corrected', 'cancelled')),
    -- The newest row of report_version.
    version integer NOT NULL DEFAULT 0,
    is_critical boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    -- When it was final for the first time.
    finished_at timestamptz,
    -- Of the newest version, for search.
    words tsvector
);
CREATE INDEX report_study ON report (study_instance_uid) WHERE study_instance_uid <> '';
CREATE INDEX report_order ON report (imaging_order) WHERE imaging_order IS NOT NULL;
CREATE INDEX report_patient ON report (patient) WHERE patient IS NOT NULL;
CREATE INDEX report_accession ON report (accession_number) WHERE accession_number <> '';
CREATE INDEX report_said_study ON report (said_study_uid) WHERE said_study_uid <> '';
CREATE INDEX report_placer ON report (placer_number) WHERE placer_number <> '';
CREATE INDEX report_filler ON report (filler_number) WHERE filler_number <> '';
CREATE INDEX report_said_patient ON report (patient_id) WHERE patient_id <> '' AND patient IS NULL;
CREATE INDEX report_identifier ON report (patient_identifier) WHERE patient_identifier IS NOT NULL;
CREATE INDEX report_words ON report USING gin (words);
CREATE INDEX report_changed ON report (changed_at DESC);
CREATE UNIQUE INDEX report_source ON report (source, source_name, source_number) WHERE source_number <> '';

CREATE TABLE report_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report bigint NOT NULL REFERENCES report ON DELETE CASCADE,
    version integer NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'preliminary', 'final', 'corrected', 'cancelled')),
    -- [{"heading", "text"}], all of it, also where only a word was changed.
    sections jsonb NOT NULL DEFAULT '[]',
    -- [{"text", "by", "at"}]: what was added after signing, the oldest first.
    addenda jsonb NOT NULL DEFAULT '[]',
    -- As received: a PDF, a CDA document or an RTF text; empty: the sections are all there is.
    document bytea,
    document_type text NOT NULL DEFAULT '',
    -- PN, as they stand on the report.
    author text NOT NULL DEFAULT '',
    signer text NOT NULL DEFAULT '',
    -- Why a signed one was changed.
    reason text NOT NULL DEFAULT '',
    -- The row in the inbox, the object of the archive it was read from.
    message bigint,
    sop_instance_uid text COLLATE "C" NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT now(),
    made_by text NOT NULL,
    signed_at timestamptz,
    UNIQUE (report, version)
);
CREATE INDEX report_version_message ON report_version (message) WHERE message IS NOT NULL;
CREATE INDEX report_version_object ON report_version (sop_instance_uid) WHERE sop_instance_uid <> '';

-- What was made of a version and where it went: an SR or PDF object in the archive, a message in the outbox.
CREATE TABLE report_output (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report bigint NOT NULL REFERENCES report ON DELETE CASCADE,
    version integer NOT NULL,
    -- sr, pdf, with the study in `feed`; sr-withdrawn, pdf-withdrawn: the report is of another study; oru, mdm with the feed.
    kind text NOT NULL,
    feed text COLLATE "C" NOT NULL DEFAULT '',
    -- SOP Instance UID or the message's control ID.
    result text COLLATE "C" NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (report, version, kind, feed)
);

-- A critical finding, who must hear of it by when, and who did.
CREATE TABLE critical_result (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report bigint NOT NULL REFERENCES report ON DELETE CASCADE,
    level text NOT NULL DEFAULT 'critical',
    finding text NOT NULL,
    -- A login, or a name outside of Fileroom.
    told_to text NOT NULL DEFAULT '',
    due_at timestamptz NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    noted_by text NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text NOT NULL DEFAULT '',
    how text NOT NULL DEFAULT '',
    comment text NOT NULL DEFAULT '',
    told_at timestamptz,
    escalated_at timestamptz,
    -- When somebody is to be told next; null: nobody any more.
    notice_due_at timestamptz DEFAULT now(),
    notice_attempts integer NOT NULL DEFAULT 0,
    -- Who of those to be told was not reached yet.
    notice_left text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX critical_result_notice ON critical_result (notice_due_at) WHERE notice_due_at IS NOT NULL;
CREATE INDEX report_critical ON report (id) WHERE is_critical;
CREATE INDEX critical_result_open ON critical_result (due_at) WHERE acknowledged_at IS NULL;
CREATE INDEX critical_result_report ON critical_result (report);

-- noted, told, not told, overdue, acknowledged, reopened
CREATE TABLE critical_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    critical_result bigint NOT NULL REFERENCES critical_result ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    event text NOT NULL,
    who text NOT NULL DEFAULT '',
    note text NOT NULL DEFAULT ''
);
CREATE INDEX critical_event_result ON critical_event (critical_result, id);

-- When an order reached a state for the first time: the board of turnaround times needs what has been.
CREATE TABLE order_moment (
    imaging_order bigint NOT NULL REFERENCES imaging_order ON DELETE CASCADE,
    state text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (imaging_order, state)
);
CREATE FUNCTION note_order_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO order_moment (imaging_order, state) VALUES (NEW.id, NEW.state) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER imaging_order_state_made AFTER INSERT ON imaging_order
    FOR EACH ROW WHEN (NEW.state <> 'scheduled') EXECUTE FUNCTION note_order_state();
CREATE TRIGGER imaging_order_state_changed AFTER UPDATE OF state ON imaging_order
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION note_order_state();
CREATE INDEX report_finished ON report (finished_at) WHERE finished_at IS NOT NULL;

-- Reports that a person has put to another study or order, and back.
CREATE TABLE report_assignment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report bigint NOT NULL REFERENCES report ON DELETE CASCADE,
    study_before text COLLATE "C" NOT NULL,
    order_before bigint,
    patient_before bigint,
    accession_before text COLLATE "C" NOT NULL,
    study_after text COLLATE "C" NOT NULL,
    order_after bigint,
    reason text NOT NULL,
    assigned_by text NOT NULL,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    undone_by text NOT NULL DEFAULT '',
    undone_at timestamptz
);
CREATE INDEX report_assignment_report ON report_assignment (report, id);

-- What somebody took off the lists of images without reports, reports without images and so on, and why.
CREATE TABLE reconciliation_note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    -- Study Instance UID, or the number of a report or an order.
    subject text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    dismissed_by text NOT NULL,
    dismissed_at timestamptz NOT NULL DEFAULT now(),
    undone_by text NOT NULL DEFAULT '',
    undone_at timestamptz
);
CREATE UNIQUE INDEX reconciliation_note_subject ON reconciliation_note (kind, subject) WHERE undone_at IS NULL;

-- Versions of which something is still to be made: objects of the archive, messages by feeds. A row goes when that is done.
CREATE TABLE report_task (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_version bigint NOT NULL REFERENCES report_version ON DELETE CASCADE,
    what text NOT NULL CHECK (what IN ('objects', 'messages')),
    made_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    UNIQUE (report_version, what)
);
CREATE INDEX report_task_due ON report_task (what, due_at, id);
CREATE FUNCTION note_report_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_task (report_version, what) VALUES (NEW.id, 'objects'), (NEW.id, 'messages') ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE INDEX report_output_result ON report_output (result) WHERE result <> '';
-- A report that gets another study is told of again, there and here.
CREATE FUNCTION note_report_study() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_task (report_version, what) SELECT id, 'objects' FROM report_version
        WHERE report = NEW.id AND version = NEW.version AND state <> 'draft'
        ON CONFLICT (report_version, what) DO UPDATE SET due_at = now();
    RETURN NULL;
END $$;
CREATE TRIGGER report_study_changed AFTER UPDATE OF study_instance_uid ON report
    FOR EACH ROW WHEN (NEW.study_instance_uid <> OLD.study_instance_uid) EXECUTE FUNCTION note_report_study();
CREATE TRIGGER report_version_made AFTER INSERT OR UPDATE OF state ON report_version
    FOR EACH ROW WHEN (NEW.state <> 'draft') EXECUTE FUNCTION note_report_version();

-- What may change which order, study and patient a report has. Each change has a row of its own, so that none waits for another.
CREATE TABLE report_note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report bigint,
    imaging_order bigint,
    study_instance_uid text COLLATE "C",
    patient_identifier bigint
);
CREATE FUNCTION note_order_for_reports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_note (imaging_order) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER imaging_order_for_reports AFTER INSERT ON imaging_order FOR EACH ROW EXECUTE FUNCTION note_order_for_reports();
CREATE TRIGGER imaging_order_other_for_reports AFTER UPDATE OF patient, placer_number, filler_number, accession_number,
    study_instance_uid ON imaging_order FOR EACH ROW
    WHEN ((OLD.patient, OLD.placer_number, OLD.filler_number, OLD.accession_number, OLD.study_instance_uid)
        IS DISTINCT FROM (NEW.patient, NEW.placer_number, NEW.filler_number, NEW.accession_number, NEW.study_instance_uid))
    EXECUTE FUNCTION note_order_for_reports();
CREATE FUNCTION note_match_for_reports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_note (imaging_order, study_instance_uid) VALUES (NEW.imaging_order, NEW.study_instance_uid);
    RETURN NULL;
END $$;
CREATE TRIGGER study_match_for_reports AFTER INSERT OR UPDATE OF undone_at ON study_match
    FOR EACH ROW EXECUTE FUNCTION note_match_for_reports();
CREATE FUNCTION note_identifier_for_reports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Somebody of whom there is no report makes no work.
    IF EXISTS (SELECT FROM report WHERE patient_identifier = NEW.id)
        OR EXISTS (SELECT FROM report WHERE patient_id = NEW.value AND patient_id <> '' AND patient IS NULL) THEN
        INSERT INTO report_note (patient_identifier) VALUES (NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER patient_identifier_for_reports AFTER INSERT ON patient_identifier
    FOR EACH ROW EXECUTE FUNCTION note_identifier_for_reports();
CREATE TRIGGER patient_identifier_moved_for_reports AFTER UPDATE OF patient ON patient_identifier
    FOR EACH ROW WHEN (OLD.patient IS DISTINCT FROM NEW.patient) EXECUTE FUNCTION note_identifier_for_reports();

CREATE FUNCTION note_study_for_reports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM report WHERE said_study_uid = NEW.study_instance_uid AND said_study_uid <> '')
        OR EXISTS (SELECT FROM report WHERE accession_number = NEW.accession_number AND accession_number <> '')
        OR EXISTS (SELECT FROM imaging_order o JOIN report r ON r.imaging_order = o.id
            WHERE o.study_instance_uid = NEW.study_instance_uid) THEN
        INSERT INTO report_note (study_instance_uid) VALUES (NEW.study_instance_uid);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER study_for_reports AFTER INSERT ON study FOR EACH ROW EXECUTE FUNCTION note_study_for_reports();

-- Structured reports and encapsulated documents that have come and are still to be read; images are passed over by WHEN.
CREATE TABLE report_object (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sop_instance_uid text COLLATE "C" NOT NULL UNIQUE,
    -- Null: given up, for the reason.
    due_at timestamptz DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT ''
);
CREATE INDEX report_object_due ON report_object (due_at) WHERE due_at IS NOT NULL;
CREATE FUNCTION note_object_for_reports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_object (sop_instance_uid) VALUES (NEW.sop_instance_uid) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER instance_for_reports AFTER INSERT ON instance FOR EACH ROW
    WHEN (NEW.received_by <> 'report' AND NEW.sop_instance_uid IS NOT NULL
        AND (NEW.completion_flag IS NOT NULL OR NEW.mime_type_of_encapsulated_document IS NOT NULL))
    EXECUTE FUNCTION note_object_for_reports();
INSERT INTO report_object (sop_instance_uid) SELECT sop_instance_uid FROM instance WHERE sop_instance_uid IS NOT NULL
    AND (completion_flag IS NOT NULL OR mime_type_of_encapsulated_document IS NOT NULL) ORDER BY id;

-- What somebody has typed in the console's editor and not signed yet; beside the versions, which are never changed.
CREATE TABLE report_edit (
    report bigint PRIMARY KEY REFERENCES report ON DELETE CASCADE,
    -- Counts every save, and what was written meanwhile: whoever saves says which one they have seen.
    edits integer NOT NULL DEFAULT 0,
    title text NOT NULL DEFAULT '',
    -- As in report_version; null: nothing is typed that the newest version does not say.
    sections jsonb,
    saved_at timestamptz NOT NULL DEFAULT now(),
    saved_by text NOT NULL DEFAULT ''
);
