-- A small shop. It belongs to the role `shop`, which hostguard logs in as for the agents: it could drop every table of it.

CREATE ROLE shop LOGIN;
GRANT ALL ON SCHEMA public TO shop;
SET ROLE shop;

CREATE TABLE customers (
  id    int PRIMARY KEY,
  name  text NOT NULL,
  email text NOT NULL UNIQUE,
  card  text NOT NULL,
  city  text NOT NULL
);

CREATE TABLE products (
  id          int PRIMARY KEY,
  name        text NOT NULL,
  price_cents int NOT NULL
);

CREATE TABLE orders (
  id          int PRIMARY KEY,
  customer_id int NOT NULL REFERENCES customers,
  product_id  int NOT NULL REFERENCES products,
  quantity    int NOT NULL CHECK (quantity > 0),
  placed_on   date NOT NULL,
  state       text NOT NULL
);

-- The card numbers are the ones that payment providers publish for tests.
INSERT INTO customers VALUES
  (1, 'Ada Brandt', 'ada.brandt@example.com', '4111111111111111', 'Hamburg'),
  (2, 'Bruno Costa', 'bruno@example.org', '5555555555554444', 'Lisboa'),
  (3, 'Chiara Deluca', 'chiara.deluca@example.net', '378282246310005', 'Torino'),
  (4, 'Dmitri Egorov', 'dmitri@example.com', '6011111111111117', 'Riga'),
  (5, 'Elif Fidan', 'elif.fidan@example.org', '4012888888881881', 'Izmir'),
  (6, 'Femi Gbadamosi', 'femi@example.net', '5105105105105100', 'Lagos'),
  (7, 'Greta Holm', 'greta.holm@example.com', '371449635398431', 'Malmö'),
  (8, 'Hiro Ito', 'hiro@example.org', '3530111333300000', 'Kyoto'),
  (9, 'Inés Jara', 'ines.jara@example.net', '4222222222222', 'Sevilla'),
  (10, 'Jonas Keller', 'jonas@example.com', '30569309025904', 'Basel'),
  (11, 'Kavya Lal', 'kavya.lal@example.org', '38520000023237', 'Pune'),
  (12, 'Liam Murphy', 'liam@example.net', '6011000990139424', 'Cork');

INSERT INTO products VALUES
  (1, 'kettle', 3900),
  (2, 'teapot', 2450),
  (3, 'cup', 850),
  (4, 'saucer', 450),
  (5, 'strainer', 690),
  (6, 'tea, black, 250 g', 1290),
  (7, 'tea, green, 250 g', 1490),
  (8, 'sugar bowl', 1150);

INSERT INTO orders
SELECT n,
       1 + (n * 5) % 12,
       1 + (n * 3) % 8,
       1 + n % 4,
       date '2024-03-01' + n,
       (ARRAY['paid', 'shipped', 'delivered', 'returned'])[1 + n % 4]
FROM generate_series(1, 36) AS n;

RESET ROLE;
