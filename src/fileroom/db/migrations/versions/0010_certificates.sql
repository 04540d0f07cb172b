-- Certificates of the DICOM and web ports and of our calls, and whom we trust.
--
-- Only what is public stands here. A key lies in the data folder of the machine that made or took it, in a file named by
-- the SHA-256 of its public key (admin.key_folder), so that a copy of the database opens nothing.

CREATE TABLE certificate (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    chain_pem text NOT NULL,               -- leaf first; empty: requested, its answer has not come yet
    request_pem text NOT NULL,             -- PKCS #10, where it was made here
    key_id text NOT NULL,                  -- SHA-256 of the SubjectPublicKeyInfo, in hex
    subject text NOT NULL,                 -- RFC 4514
    issuer text NOT NULL,
    names text[] NOT NULL,                 -- subject alternative names: host names and addresses
    fingerprint text NOT NULL,             -- SHA-256 of the leaf, in hex
    key_kind text NOT NULL,                -- for people: RSA 3072, EC P-256
    not_before timestamptz,
    not_after timestamptz,                 -- the earliest of the chain
    created_at timestamptz NOT NULL,
    created_by text NOT NULL
);

-- Which certificate is shown where. One for each use.
CREATE TABLE certificate_use (
    use text PRIMARY KEY,                  -- admin.certificates.Use: web, dicom, calls
    certificate bigint NOT NULL REFERENCES certificate
);

-- Certificates that others are checked by: issuers, or single devices that sign for themselves.
CREATE TABLE trusted_certificate (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    pem text NOT NULL,
    subject text NOT NULL,
    issuer text NOT NULL,
    fingerprint text NOT NULL UNIQUE,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    crl_pem text NOT NULL DEFAULT '',      -- its list of revoked certificates (RFC 5280 5)
    crl_next_update timestamptz,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL
);

-- Grows with every change of the above: the workers look at it every few seconds, and make their contexts anew.
CREATE TABLE certificate_version (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL
);

-- The subject and fingerprint that the peer of an association has shown.
ALTER TABLE association ADD COLUMN peer_certificate text NOT NULL DEFAULT '';
