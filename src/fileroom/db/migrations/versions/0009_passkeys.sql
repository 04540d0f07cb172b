-- Passkeys, and passwords that must be changed.

ALTER TABLE account
    -- Set by whoever chose the password for somebody else: until it is changed, a session is good for nothing else.
    ADD COLUMN password_must_change boolean NOT NULL DEFAULT false,
    -- The user handle of WebAuthn: what passkeys know an account by. It tells nothing about the person.
    ADD COLUMN passkey_handle bytea UNIQUE;

-- Public keys only: the private ones never leave the telephones and security keys.
CREATE TABLE passkey (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES account ON DELETE CASCADE,
    name text NOT NULL,
    credential_id bytea NOT NULL UNIQUE,
    public_key bytea NOT NULL,              -- COSE (RFC 9052)
    sign_count bigint NOT NULL,             -- the last one; 0: the authenticator counts nothing
    site text NOT NULL,                     -- the name of this server that it is good at (WebAuthn: rp id)
    created_at timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX passkey_account ON passkey (account_id);

-- Challenges that are out; each is taken once.
CREATE TABLE passkey_challenge (
    challenge bytea PRIMARY KEY,
    purpose text NOT NULL,                  -- register, login, second-factor
    account_id bigint REFERENCES account ON DELETE CASCADE,  -- NULL: whoever answers tells
    site text NOT NULL,
    origin text NOT NULL,                   -- scheme, name and port that the browser must confirm
    expires_at timestamptz NOT NULL
);
CREATE INDEX passkey_challenge_expires_at ON passkey_challenge (expires_at);
