-- Projects of de-identification (their settings are named_entry rows of the section `projects`): the vault of who is
-- whom, and reports. Nothing in here names anybody without the sealing key of the data folder (admin.sealing).

CREATE TABLE deid_vault (
    project_id integer PRIMARY KEY REFERENCES named_entry,
    sealed_key bytea NOT NULL,
    last_number integer NOT NULL DEFAULT 0
);

-- `lookup` and `pseudonym_lookup` are HMACs by the project's key; `sealed` is JSON: who it is, what they are called.
CREATE TABLE pseudonym (
    project_id integer NOT NULL REFERENCES deid_vault,
    lookup bytea NOT NULL,
    pseudonym_lookup bytea NOT NULL,
    sealed bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, lookup),
    UNIQUE (project_id, pseudonym_lookup)
);

-- One report for each study that goes to a destination under a project. UIDs are the new ones.
CREATE TABLE deid_report (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id integer NOT NULL REFERENCES named_entry,
    project_version integer NOT NULL,
    destination text NOT NULL,
    study_instance_uid text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, destination, study_instance_uid)
);
CREATE INDEX deid_report_project ON deid_report (project_id, id);

CREATE TABLE deid_report_row (
    report_id bigint NOT NULL REFERENCES deid_report ON DELETE CASCADE,
    sop_instance_uid text NOT NULL,
    sop_class_uid text NOT NULL,
    quarantined text NOT NULL DEFAULT '',
    actions jsonb NOT NULL DEFAULT '{}',
    regions jsonb NOT NULL DEFAULT '[]',
    proof text NOT NULL DEFAULT '',
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (report_id, sop_instance_uid)
);
