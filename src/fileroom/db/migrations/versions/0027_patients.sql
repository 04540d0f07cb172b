-- What a moved visit, or a moved identifier with all that came with it, has taken along: so that it can be moved back.
CREATE TABLE patient_move (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source bigint NOT NULL REFERENCES registered_patient,
    target bigint NOT NULL REFERENCES registered_patient,
    visits bigint[] NOT NULL DEFAULT '{}',
    orders bigint[] NOT NULL DEFAULT '{}',
    -- Of a move of all that was known under one identifier; was_first: images of the source carried it.
    identifier bigint,
    was_first boolean NOT NULL DEFAULT false,
    studies text[] COLLATE "C" NOT NULL DEFAULT '{}',
    message bigint,
    moved_at timestamptz NOT NULL DEFAULT now(),
    moved_by text NOT NULL,
    undone_at timestamptz,
    undone_by text
);
CREATE INDEX patient_move_source ON patient_move (source);
CREATE INDEX patient_move_target ON patient_move (target);

-- Why a person merged two, and why a merge was taken back.
ALTER TABLE patient_merge ADD COLUMN reason text NOT NULL DEFAULT '';
ALTER TABLE patient_merge ADD COLUMN revoke_reason text NOT NULL DEFAULT '';
