-- What a parcel consists of is counted for its line in the ledger; lanes take what waits, or is to be proven, by the same index.
CREATE INDEX delivery_parcel ON delivery (parcel_id, state, id);
DROP INDEX delivery_open;
DROP INDEX delivery_sent;
