CREATE TABLE payees (iban text PRIMARY KEY, name text NOT NULL);
CREATE TABLE payments (
    id int PRIMARY KEY, payee text NOT NULL REFERENCES payees, cents bigint NOT NULL, approved bool NOT NULL DEFAULT false
);
INSERT INTO payees VALUES ('DE01', 'Ada Brandt'), ('DE02', 'Bruno Costa');
INSERT INTO payments VALUES (1, 'DE01', 1200, false), (2, 'DE02', 3400, false);
