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
    finished_at timestamptz
);
CREATE INDEX report_study ON report (study_instance_uid) WHERE study_instance_uid <> '';
CREATE INDEX report_order ON report (imaging_order) WHERE imaging_order IS NOT NULL;
CREATE INDEX report_patient ON report (patient) WHERE patient IS NOT NULL;
CREATE INDEX report_accession ON report (accession_number) WHERE accession_number <> '';
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
    -- sr, pdf, or oru and mdm with the feed.
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
    escalated_at timestamptz
);
CREATE INDEX critical_result_open ON critical_result (due_at) WHERE acknowledged_at IS NULL;
CREATE INDEX critical_result_report ON critical_result (report);
